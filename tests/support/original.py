"""The original tool's documented examples, as its users have them in their code.

Each is one example of its README (`README_CN.md` in github.com/preangelleo/cloudburst) or of its
`example_usage.py`: the same functions, arguments and result keys, in lines of our own. What an
example prints is what a missing key, or one of another type, would break.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from instant_instance_operation_v2 import (
    InstantInstanceOperationV2,
    execute_parallel_batches,
    scan_and_test_folder,
)
from PIL import Image

from cloudburst import media
from tests.support.inputs import first_frame, write_sound

if TYPE_CHECKING:
    from collections.abc import Callable

    Scenes = list[dict[str, Any]]
    Result = dict[str, Any]

COLORS = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30)]


def seconds_of(number: int) -> float:
    return 1.0 + number / 5


def make_scene(folder: Path, number: int) -> dict[str, Any]:
    """Make a scene in the original's folders; its colour and its length are its own."""
    name = f"scene_{number:03}_chinese"
    picture, sound = folder / "images" / f"{name}.png", folder / "audio" / f"{name}.wav"
    picture.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (320, 180), COLORS[number]).save(picture)
    write_sound(sound, seconds_of(number))
    subtitle = sound.with_suffix(".srt")
    if number == 0:
        subtitle.write_text("1\n00:00:00,100 --> 00:00:00,900\nHello\n")
    return {
        "scene_name": name,
        "input_image": str(picture),
        "input_audio": str(sound),
        "subtitle": str(subtitle) if number == 0 else None,
    }


def assert_videos(result: dict[str, Any]) -> None:
    """Every scene's video is its own: as long as its sound, of the colour of its picture."""
    for scene in result["batch_results"]:
        number = int(scene["scene_name"][6:9])
        path = Path(scene["local_path"])
        video = media.inspect_video(path)
        assert abs(video.seconds - seconds_of(number)) <= 0.1
        assert scene["file_size"] == path.stat().st_size
        frame = first_frame(path)
        middle = frame.getpixel((frame.width // 2, frame.height // 4))
        assert all(abs(a - b) < 25 for a, b in zip(middle, COLORS[number], strict=True)), middle


# -- README: folders for results ------------------------------------------------------------------


def readme_saving_dir_of_one_batch(folder: Path, scenes: Scenes, out: Path) -> Result:  # noqa: ARG001
    operation = InstantInstanceOperationV2()
    result = operation.execute_batch(scenes=scenes, saving_dir=str(out))
    operation.terminate_instance(result["instance_id"])
    return result


def readme_saving_dir_of_parallel_batches(folder: Path, scenes: Scenes, out: Path) -> Result:  # noqa: ARG001
    return execute_parallel_batches(scenes=scenes, saving_dir=str(out))


def readme_saving_dir_of_a_folder(folder: Path, scenes: Scenes, out: Path) -> Result:  # noqa: ARG001
    return scan_and_test_folder(folder_path=str(folder), saving_dir=str(out))


# -- README: three ways ---------------------------------------------------------------------------


def readme_1_folder(folder: Path, scenes: Scenes, out: Path) -> Result:  # noqa: ARG001
    result = scan_and_test_folder(folder_path=str(folder), language="chinese", enable_zoom=True)
    print(f"✅ {result['successful_scenes']}")
    print(f"💰 ${result['cost_usd']:.4f}")
    if result.get("downloaded_files"):
        print(f"📥 {result['output_directory']}")
        for path in result["downloaded_files"]:
            print(f"   🎬 {path}")
    return result


def readme_2_scene_list(folder: Path, scenes: Scenes, out: Path) -> Result:  # noqa: ARG001
    operation = InstantInstanceOperationV2()
    result = operation.execute_batch(
        scenes=scenes, language="chinese", enable_zoom=True, auto_terminate=False
    )
    print(f"✅ {result['successful_scenes']}")
    print(f"💰 ${result['cost_usd']:.4f}")
    if result["success"] and result.get("instance_id"):
        downloaded = operation.download_batch_results(
            batch_results=result["batch_results"],
            output_dir=str(out),
            instance_id=result["instance_id"],
        )
        print(f"📥 {downloaded['download_count']} of {downloaded['total_available']}")
        print(f"💰 ${downloaded['final_cost_usd']:.4f}")
    return result


def readme_3_parallel(folder: Path, scenes: Scenes, out: Path) -> Result:  # noqa: ARG001
    result = execute_parallel_batches(
        scenes=scenes,
        scenes_per_batch=2,
        language="chinese",
        enable_zoom=True,
        max_parallel_instances=2,
        min_scenes_per_batch=1,
        saving_dir=str(out),
    )
    print(f"✅ {result['successful_scenes']}/{result['total_scenes']}")
    print(f"💰 ${result['total_cost_usd']:.4f}")
    print(f"⏱️  {result['parallel_time']:.1f}")
    print(f"🚀 {result['efficiency']['speedup_factor']:.1f}")
    print(f"📥 {len(result['downloaded_files'])}")
    for info in result["downloaded_files"]:
        print(f"{info['batch_id']}: {info['file_path']}")
    return result


# -- README: downloads by themselves and by hand --------------------------------------------------


def readme_automatic_download(folder: Path, scenes: Scenes, out: Path) -> Result:  # noqa: ARG001
    result = InstantInstanceOperationV2().execute_batch(scenes=scenes, auto_terminate=True)
    for path in result["downloaded_files"]:
        print(path)
    return result


def readme_manual_download(folder: Path, scenes: Scenes, out: Path) -> Result:  # noqa: ARG001
    operation = InstantInstanceOperationV2()
    result = operation.execute_batch(scenes=scenes, auto_terminate=False)
    if result["success"]:
        operation.download_batch_results(
            batch_results=result["batch_results"],
            output_dir=str(out),
            instance_id=result["instance_id"],
        )
        operation.terminate_instance()
    return result


# -- example_usage.py -----------------------------------------------------------------------------


def usage_1_folder_into_a_database(folder: Path, scenes: Scenes, out: Path) -> Result:  # noqa: ARG001
    result = scan_and_test_folder(
        folder_path=str(folder),
        language="chinese",
        enable_zoom=True,
        config_priority=1,
        saving_dir=str(out),
    )
    record = {
        "urls": [one["download_url"] for one in result["batch_results"] if one["success"]],
        "files": result.get("downloaded_files", []),
        "cost": result["cost_usd"],
        "seconds": result["total_time"],
    }
    print(json.dumps(record), f"{record['cost']:.6f}")
    return result


def usage_2_scenes_from_anywhere(folder: Path, scenes: Scenes, out: Path) -> Result:  # noqa: ARG001
    operation = InstantInstanceOperationV2(config_priority=2)
    result = operation.execute_batch(
        scenes=scenes, language="english", enable_zoom=True, auto_terminate=False
    )
    print(f"{result['successful_scenes']}/{result['total_scenes']} {result['total_time']:.1f}s")
    print(f"{result['download_count']} files in {result['download_dir']}")
    if result.get("instance_id"):
        operation.terminate_instance(result["instance_id"])
    return result


def usage_3_one_scene(folder: Path, scenes: Scenes, out: Path) -> Result:  # noqa: ARG001
    operation = InstantInstanceOperationV2()
    result = operation.execute_batch(scenes=scenes[:1], auto_terminate=False)
    (scene,) = result["batch_results"]
    print(f"{scene['download_url']} {scene['scenario']} {result['cost_usd']:.6f}")
    downloaded = operation.download_batch_results(
        batch_results=result["batch_results"],
        output_dir=str(out),
        instance_id=result["instance_id"],
    )
    print(downloaded["downloaded_files"][0])
    return result


def usage_5_production(folder: Path, scenes: Scenes, out: Path) -> Result:  # noqa: ARG001
    result = scan_and_test_folder(
        folder_path=str(folder), language="chinese", enable_zoom=True, config_priority=1
    )
    record = {
        "status": "completed" if result["success"] else result.get("error", "unknown"),
        "failed": result["failed_scenes"],
        "type": result.get("instance_type", "unknown"),
        "each": result["total_time"] / result["successful_scenes"],
        "videos": [
            {
                "name": one["scene_name"],
                "megabytes": one["file_size"] / 1024 / 1024,
                "moves": one["has_zoom"],
                "subtitles": one["has_subtitle"],
                "scenario": one["scenario"],
                "seconds": one["processing_time"],
            }
            for one in result["batch_results"]
            if one["success"]
        ],
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "production_report.json").write_text(json.dumps(record))
    return result


def usage_6_parallel_report(folder: Path, scenes: Scenes, out: Path) -> Result:  # noqa: ARG001
    result = execute_parallel_batches(
        scenes=scenes,
        scenes_per_batch=2,
        min_scenes_per_batch=1,
        language="english",
        enable_zoom=True,
        config_priority=1,
        max_parallel_instances=10,
        saving_dir=str(out),
    )
    print(f"{result['total_time']:.1f} {result['parallel_time']:.1f} {result['time_saved']:.1f}")
    print(f"{result['efficiency']['cost_per_scene']:.4f} {result['efficiency']['success_rate']}")
    scenarios: dict[str, list[str]] = {}
    for one in result["batch_results"]:
        if one.get("success", False):
            scenarios.setdefault(one.get("scenario", "unknown"), []).append(one["scene_name"])
    report = {"summary": scenarios, "machines": result["instances_used"], "all": result}
    (out / "parallel_batch_report.json").write_text(json.dumps(report))
    return result


EXAMPLES: dict[str, Callable[[Path, Scenes, Path], Result]] = {
    example.__name__: example
    for example in (
        readme_saving_dir_of_one_batch,
        readme_saving_dir_of_parallel_batches,
        readme_saving_dir_of_a_folder,
        readme_1_folder,
        readme_2_scene_list,
        readme_3_parallel,
        readme_automatic_download,
        readme_manual_download,
        usage_1_folder_into_a_database,
        usage_2_scenes_from_anywhere,
        usage_3_one_scene,
        usage_5_production,
        usage_6_parallel_report,
    )
}


def example_cases(*quick: str) -> list[Any]:
    """Return a test case for each example: all but the quick ones are left to `make test-all`."""
    return [
        pytest.param(name, marks=() if name in quick else pytest.mark.slow) for name in EXAMPLES
    ]


SCENE_KEYS = {
    "scene_name": str,
    "success": bool,
    "download_url": str,
    "local_path": str,
    "file_size": int,
    "processing_time": float,
    "has_subtitle": bool,
    "has_zoom": bool,
    "scenario": str,
    "error": type(None),
}
BATCH_KEYS = {
    "success": bool,
    "total_scenes": int,
    "successful_scenes": int,
    "failed_scenes": int,
    "cost_usd": float,
    "total_time": float,
    "instance_id": str,
    "config_used": dict,
    "timing_log": list,
    "batch_results": list,
}
PARALLEL_KEYS = {
    "success": bool,
    "total_scenes": int,
    "successful_scenes": int,
    "failed_scenes": int,
    "success_rate": float,
    "total_cost_usd": float,
    "cost_per_scene": float,
    "parallel_time": float,
    "total_processing_time": float,
    "instances_used": int,
    "efficiency": dict,
    "downloaded_files": list,
    "batch_results": list,
    "instance_results": list,
}


def assert_original_keys(result: Result) -> None:
    """A result has every key that the original documents, each of its type."""
    keys = PARALLEL_KEYS if "parallel_time" in result else BATCH_KEYS
    wrong = {
        key: result.get(key) for key, kind in keys.items() if type(result.get(key)) is not kind
    }
    assert wrong == {}
    for scene in result["batch_results"]:
        wrong = {
            key: scene.get(key)
            for key, kind in SCENE_KEYS.items()
            if type(scene.get(key)) is not kind
        }
        assert wrong == {}
    json.dumps(result)  # plain values
