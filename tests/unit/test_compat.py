"""The original's API where nothing has to run: signatures, instance types, distribution, costs."""

from __future__ import annotations

import inspect
from typing import Any

import instant_instance_operation_v2 as original_name
import pytest

import cloudburst.compat as api
from cloudburst.compat import instances, results
from cloudburst.compat.progress import describe
from cloudburst.models import Cost, Event, EventKind

# Names, arguments and defaults of the original, read from its code.
SIGNATURES: dict[str, dict[str, Any]] = {
    "InstantInstanceOperationV2": {"config_priority": 1},
    "InstantInstanceOperationV2.execute_batch": {
        "scenes": ...,
        "language": "chinese",
        "enable_zoom": True,
        "auto_terminate": False,
        "watermark_path": None,
        "is_portrait": False,
        "saving_dir": None,
        "background_box": True,
        "background_opacity": 0.2,
    },
    "InstantInstanceOperationV2.download_batch_results": {
        "batch_results": ...,
        "output_dir": ...,
        "instance_id": None,
        "terminate_after": True,
    },
    "InstantInstanceOperationV2.terminate_instance": {"instance_id": None},
    "InstantInstanceOperationV2.scan_scenes_from_folder": {"folder_path": ...},
    "InstantInstanceOperationV2.check_aws_account_validity": {},
    "InstantInstanceOperationV2.check_instance_availability": {"instance_type": ...},
    "InstantInstanceOperationV2.find_best_available_instance": {},
    "InstantInstanceOperationV2.get_instance_pricing": {},
    "InstantInstanceOperationV2.calculate_cost": {"runtime_seconds": ...},
    "InstantInstanceOperationV2.log_timing": {"event": ...},
    "scan_and_test_folder": {
        "folder_path": ...,
        "language": "chinese",
        "enable_zoom": True,
        "config_priority": 1,
        "saving_dir": None,
        "background_box": True,
        "background_opacity": 0.2,
    },
    "instant_batch_processing": {
        "scenes": ...,
        "language": "chinese",
        "enable_zoom": True,
        "config_priority": 1,
        "saving_dir": None,
        "background_box": True,
        "background_opacity": 0.2,
    },
    "calculate_optimal_batch_distribution": {
        "total_scenes": ...,
        "scenes_per_batch": 10,
        "max_parallel_instances": 10,
        "min_scenes_per_batch": 5,
    },
    "execute_parallel_batches": {
        "scenes": ...,
        "scenes_per_batch": 10,
        "language": "chinese",
        "enable_zoom": True,
        "config_priority": 1,
        "max_parallel_instances": 10,
        "min_scenes_per_batch": 5,
        "watermark_path": None,
        "is_portrait": False,
        "saving_dir": None,
        "background_box": True,
        "background_opacity": 0.2,
        "auto_terminate": True,
    },
}


@pytest.fixture(autouse=True)
def on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDBURST_TARGET", "local")


@pytest.mark.parametrize("name", SIGNATURES)
def test_names_arguments_and_defaults_are_the_originals(name: str) -> None:
    value: Any = original_name
    for part in name.split("."):
        value = getattr(value, part)
    parameters = {
        key: ... if one.default is one.empty else one.default
        for key, one in inspect.signature(value).parameters.items()
        if one.kind is one.POSITIONAL_OR_KEYWORD and key != "self"
    }
    assert list(parameters.items()) == list(SIGNATURES[name].items())


def test_the_original_module_has_all_names_and_nothing_else() -> None:
    public = {name for name in vars(original_name) if not name.startswith("_")}
    assert public == set(api.__all__)


@pytest.mark.parametrize(
    ("priority", "first"),
    [(1, "c5.2xlarge"), (2, "m5.xlarge"), (3, "g4dn.xlarge"), (7, "c5.2xlarge")],
)
def test_a_priority_chooses_the_first_instance_type(priority: int, first: str) -> None:
    operation = api.InstantInstanceOperationV2(config_priority=priority, verbose=False)
    assert operation.instance_type == operation.current_config["instance_type"] == first
    assert [one["priority"] for one in operation.instance_configs] == [1, 2, 3]
    assert all({"name", "description"} <= set(one) for one in operation.instance_configs)
    rungs = instances.ladder(first)
    assert rungs[0] == first
    assert sorted(rungs) == sorted(
        ["c5.2xlarge", "m5.xlarge", "g4dn.xlarge", "t3.xlarge", "t3.large", "m5.large"]
    )


def test_the_environment_names_the_first_instance_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_INSTANCE_TYPE", "c7i.4xlarge")
    assert api.InstantInstanceOperationV2(verbose=False).instance_type == "c7i.4xlarge"
    assert api.InstantInstanceOperationV2(2, verbose=False).instance_type == "m5.xlarge"


def test_a_fallback_is_named_as_one() -> None:
    asked = instances.by_priority(1)
    assert instances.used(asked, "c5.2xlarge") == asked
    fallback = instances.used(asked, "t3.xlarge")
    assert fallback["fallback_used"] is True
    assert fallback["original_instance_type"] == "c5.2xlarge"
    assert fallback["name"] == "FALLBACK_GENERAL"


@pytest.mark.parametrize(
    ("arguments", "sizes"),
    [
        ((50, 10, 10, 5), [10] * 5),
        ((120, 10, 10, 5), [12] * 10),
        ((24, 10, 10, 8), [8] * 3),
        ((101, 10, 10, 5), [11] + [10] * 9),
        ((3, 10, 10, 5), [3]),
        ((0, 10, 10, 5), []),
    ],
)
def test_scenes_are_distributed_as_the_original_documents(
    arguments: tuple[int, int, int, int], sizes: list[int]
) -> None:
    plan = api.calculate_optimal_batch_distribution(*arguments)
    assert plan["batch_distribution"] == sizes
    assert plan["num_instances"] == plan["total_batches"] == len(sizes)
    assert isinstance(plan["strategy"], str)
    assert bool(plan["warnings"]) == (arguments[0] in (120, 101, 3))


def test_a_machine_costs_its_price_but_at_least_a_minute() -> None:
    hour = results.cost_of("c5.2xlarge", 0.34, 3600)
    assert hour["total_cost_usd"] == pytest.approx(0.34)
    assert hour["runtime_minutes"] == 60
    assert results.cost_of("c5.2xlarge", 0.36, 1)["total_cost_usd"] == pytest.approx(0.006)
    assert api.InstantInstanceOperationV2(verbose=False).calculate_cost(90)["total_cost_usd"] == 0


def test_no_machine_is_ended_that_was_not_launched_from_here() -> None:
    operation = api.InstantInstanceOperationV2(verbose=False)
    assert operation.terminate_instance()["terminated"] is False
    ended = operation.terminate_instance("i-0123456789abcdef0")
    assert (ended["terminated"], ended["final_cost_usd"]) == (False, None)
    assert "was not launched from here" in operation.timing_log[-1]


def test_every_kind_of_event_has_a_line() -> None:
    for kind in EventKind:
        data = {"state": "working"} if kind is EventKind.BATCH_STATE else {}
        line = describe(Event(kind, 1.0, "b01", "intro", "text", data))
        assert line.endswith("text")
        assert line[0] not in "tbi", f"{kind} has no emoji"
    assert describe(Event(EventKind.SCENE_STARTED, 1.0, None, None, "", {})) == ""


def test_a_bill_keeps_its_lines() -> None:
    info = results.cost_info(Cost(1.25, 120.0, "list price"), 0.34, "c5.2xlarge")
    assert (info["total_cost_usd"], info["runtime_minutes"]) == (1.25, 2.0)
    assert info["cost_breakdown"]["calculation"] == "list price"
