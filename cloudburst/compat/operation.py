"""The original's class: one batch of scenes on one machine."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudburst import environment
from cloudburst.api.jobs import run
from cloudburst.compat import account, instances, kept, results
from cloudburst.compat.progress import Progress
from cloudburst.compat.scenes import Options, build_job, chosen_target
from cloudburst.errors import CloudBurstError, Interrupted, LeftRunning

if TYPE_CHECKING:
    import logging
    from collections.abc import Mapping, Sequence

    from cloudburst.models import Job, RunReport

Result = dict[str, Any]


class InstantInstanceOperationV2:
    """Renders batches of scenes, each on a machine that exists for it.

    Args:
        config_priority: 1 tries c5.2xlarge first, 2 m5.xlarge, 3 g4dn.xlarge; then the others. With
            1, AWS_INSTANCE_TYPE (environment or .env) comes first.
        target: where machines are: ``aws`` or ``local``; None for CLOUDBURST_TARGET, then ``aws``.
        verbose: whether progress is printed.
        logger: takes the progress in place of standard output.

    Attributes:
        instance_configs: the three configurations, by priority.
        current_config: the chosen one.
        config_priority: its priority.
        config_name: its name.
        instance_type: its instance type.
        docker_image: container image of the video API, on AWS.
        results_dir: folder for results, unless ``saving_dir`` names another one.
        batch_results: of the last batch, one dict for each scene.
        progress: prints, or logs, what happens.
    """

    def __init__(
        self,
        config_priority: int = 1,
        *,
        target: str | None = None,
        verbose: bool = True,
        logger: logging.Logger | None = None,
    ) -> None:
        variables = environment.environment()
        self.instance_configs = [dict(config) for config in instances.CONFIGS]
        self.current_config = instances.by_priority(config_priority)
        self.config_priority = int(self.current_config["priority"])
        wanted = variables.get("AWS_INSTANCE_TYPE")
        if wanted and self.config_priority == 1:
            self.current_config = instances.named(wanted, self.current_config)
        self.config_name = str(self.current_config["name"])
        self.instance_type = str(self.current_config["instance_type"])
        self.target = target or chosen_target(variables)
        self.docker_image = account.image(variables)
        self.results_dir = variables.get("RESULTS_DIR") or "./cloudburst_results/"
        self.batch_results: list[Result] = []
        self.progress = Progress(verbose=verbose, logger=logger)
        self._last_instance: str | None = None

    @property
    def timing_log(self) -> list[str]:
        """The last batch's progress, a line each."""
        return self.progress.timing_log

    def log_timing(self, event: str) -> None:
        """Print a line with the time, and keep it in `timing_log`."""
        self.progress.timed(event)

    # -- rendering ------------------------------------------------------------------------------

    def execute_batch(
        self,
        scenes: Sequence[Mapping[str, Any]],
        language: str = "chinese",
        enable_zoom: bool = True,
        auto_terminate: bool = False,
        watermark_path: str | None = None,
        is_portrait: bool = False,
        saving_dir: str | None = None,
        background_box: bool = True,
        background_opacity: float = 0.2,
    ) -> Result:
        """Render scenes on one machine, and download the videos.

        Args:
            scenes: dicts with ``scene_name``, ``input_image``, ``input_audio`` and, if wanted,
                ``subtitle``.
            language: of the subtitles, ``chinese`` or ``english``.
            enable_zoom: whether the picture moves.
            auto_terminate: True ends the machine when all videos are downloaded. False keeps it,
                until `terminate_instance` or the time in ``instance_expires_at``; a batch of which
                a scene failed is ended all the same.
            watermark_path: picture drawn in the top left corner.
            is_portrait: 1080x1920 instead of 1920x1080.
            saving_dir: folder for results; then RESULTS_DIR, then ``./cloudburst_results/``.
            background_box: draw a box behind the subtitles.
            background_opacity: transparency of the box, 0 (solid) to 1 (clear).

        Returns:
            The original's dict. Problems are in ``error``; ``success`` means that every scene has a
            verified video.

        Raises:
            Interrupted: Ctrl-C; everything was destroyed.
        """
        self.progress.restart()
        self.batch_results = []
        options = Options(
            language, enable_zoom, watermark_path, is_portrait, background_box, background_opacity
        )
        count = len(scenes)
        self.log_timing(f"=== BATCH INSTANT OPERATION START ({count} scenes) ===")
        one_batch = {
            "scenes_per_batch": max(1, count),
            "max_parallel_instances": 1,
            "min_scenes_per_batch": 1,
        }
        try:
            job = self.build_job(scenes, options, one_batch, saving_dir, auto_terminate)
            report = self.run_job(job)
        except Interrupted:
            raise
        except CloudBurstError as error:
            self.log_timing(f"❌ BATCH PROCESSING FAILED: {error}")
            return results.failure(count, str(error), self.current_config, self.timing_log)
        result = self._finished(job, report)
        self.batch_results = result["batch_results"]
        self._last_instance = result["instance_id"]
        return result

    def build_job(
        self,
        scenes: Sequence[Mapping[str, Any]],
        options: Options,
        distribution: Mapping[str, int],
        saving_dir: str | None,
        auto_terminate: bool,
    ) -> Job:
        """Return the job for some scenes, see `cloudburst.compat.scenes.build_job`."""
        return build_job(
            scenes,
            options,
            distribution,
            instance_types=instances.ladder(self.instance_type),
            saving_dir=saving_dir,
            auto_terminate=auto_terminate,
            target=self.target,
            warn=self.log_timing,
        )

    def run_job(self, job: Job) -> RunReport:
        """Run a job and print its progress; what was left running is in the report, and printed."""
        try:
            return run(job, on_event=self.progress.event)
        except LeftRunning as error:
            for line in error.left:
                self.log_timing(f"🚨 LEFT RUNNING: {line}")
            return error.report

    def _finished(self, job: Job, report: RunReport) -> Result:
        """Return a batch's result, its machine kept or ended, and print what it came to."""
        result = results.batch_result(job, report, self.current_config, self.timing_log)
        usd = self.end_kept_if_failed(result, [result])
        if usd is not None:
            result["cost_usd"] = usd
        if result["instance_expires_at"]:
            self.log_timing(
                f"🔒 {result['instance_id']} keeps running: end it with terminate_instance(); it "
                f"ends itself at {result['instance_expires_at']}"
            )
        done, total = result["successful_scenes"], result["total_scenes"]
        self.log_timing(
            f"=== BATCH PROCESSING COMPLETED: {done}/{total} scenes in {report.seconds:.2f}s ==="
        )
        self.log_timing(f"💰 Cost: ${result['cost_usd']:.6f}")
        self.log_timing(f"📥 {result['download_count']} videos in {result['download_dir']}")
        result["timing_log"] = list(self.timing_log)
        return result

    def end_kept_if_failed(self, result: Result, machines: Sequence[Result]) -> float | None:
        """End the machines that a run has kept, unless all its scenes succeeded.

        Callers of the original ask for ``success`` before they end a machine: one of a batch that
        did not succeed would keep running.

        Args:
            result: of the run; gets ``left_running`` if a machine could not be ended.
            machines: its machines; each gets its ``instance_expires_at`` removed once it is ended.

        Returns:
            What the run cost, in USD; None when nothing was to be ended.
        """
        still = [one for one in machines if one["instance_expires_at"]]
        if result["success"] or not still:
            return None
        self.log_timing("🛑 Not every scene succeeded: kept machines are ended")
        try:
            # All of one run, which is ended as a whole.
            ended = self.terminate_instance(still[0]["instance_id"])
        except CloudBurstError as error:
            result["left_running"] = [str(error)]
            self.log_timing(f"🚨 {error}")
            return None
        for one in still:
            one["instance_expires_at"] = None
        cost: float | None = ended["final_cost_usd"]
        return cost

    # -- afterwards -----------------------------------------------------------------------------

    def download_batch_results(
        self,
        batch_results: Sequence[Mapping[str, Any]],
        output_dir: str,
        instance_id: str | None = None,
        terminate_after: bool = True,
    ) -> Result:
        """Copy a batch's videos to a folder, and end its machine.

        Every video was downloaded and verified when it was rendered, so nothing is transferred
        again, and it also works once the machine is gone, in a later process, and repeatedly.

        Args:
            batch_results: of `execute_batch`.
            output_dir: is created.
            instance_id: the machine; None leaves it alone.
            terminate_after: whether the machine is ended.

        Returns:
            ``downloaded_files``, ``download_count``, ``total_available``, ``final_cost_usd``,
            ``final_cost_info``; and ``errors``, a line for each video that could not be copied.

        Raises:
            InfrastructureError: the machine could not be verified as gone.
        """
        available = [one for one in batch_results if one.get("success")]
        folder = Path(output_dir)
        files, errors = [], []
        for one in available:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                path = _copy(Path(one["local_path"]), folder)
            except OSError as error:
                errors.append(f"{one['scene_name']}: {error}")
                self.log_timing(f"❌ {errors[-1]}")
            else:
                files.append(str(path))
                self.log_timing(f"📥 {one['scene_name']} → {path}")
        ended: Result = {"final_cost_usd": 0.0, "final_cost_info": None}
        if instance_id:
            ended = self._settle(instance_id, terminate=terminate_after)
        return {
            "downloaded_files": files,
            "download_count": len(files),
            "total_available": len(available),
            "final_cost_usd": ended["final_cost_usd"],
            "final_cost_info": ended["final_cost_info"],
            "errors": errors,
        }

    def terminate_instance(self, instance_id: str | None = None) -> Result:
        """End a machine that was kept, and verify with its provider that it is gone.

        Other machines that its run has kept are ended with it. Works in a later process too, and
        when the machine is gone already.

        Args:
            instance_id: None for the last batch's.

        Returns:
            ``instance_id``, ``terminated`` (False: it was gone already, or is not a machine of a
            run on this computer), ``final_cost_usd``, ``final_cost_info``.

        Raises:
            InfrastructureError: it could not be verified as gone; says what removes it.
            RunBusy: its run is going on.
        """
        wanted = instance_id or self._last_instance
        if wanted is None:
            self.log_timing("No machine to end: no batch has run")
            return {
                "instance_id": None,
                "terminated": False,
                "final_cost_usd": 0.0,
                "final_cost_info": None,
            }
        return self._settle(wanted, terminate=True)

    def _settle(self, instance_id: str, *, terminate: bool) -> Result:
        machine = kept.find(instance_id)
        terminated = False
        if machine is None:
            self.log_timing(f"⚠️  {instance_id} was not launched from here; nothing is ended")
            return {
                "instance_id": instance_id,
                "terminated": False,
                "final_cost_usd": None,
                "final_cost_info": None,
            }
        if terminate:
            self.log_timing(f"🛑 Terminating {instance_id}")
            terminated = kept.end(machine, self.log_timing)
            text = "is terminated" if terminated else "had been terminated already"
            self.log_timing(f"✅ {instance_id} {text}")
        bill = kept.bill(machine)
        cost = bill["usd"] if bill else None
        if cost is not None:
            self.log_timing(f"💰 Final cost: ${cost:.6f}")
        return {
            "instance_id": instance_id,
            "terminated": terminated,
            "final_cost_usd": cost,
            "final_cost_info": bill,
        }

    # -- questions ------------------------------------------------------------------------------

    def scan_scenes_from_folder(self, folder_path: str) -> list[Result]:
        """Return the scenes of a folder, as dicts; see `cloudburst.scan` for the conventions.

        Raises:
            BadInput: nothing in the folder pairs.
        """
        return account.scan(folder_path, self.progress.line)

    def check_aws_account_validity(self) -> Result:
        """Return whether AWS answers: ``valid``, ``message``, ``regions_count`` or ``error``."""
        return account.validity()

    def check_instance_availability(self, instance_type: str) -> Result:
        """Return the zones that offer an instance type: ``available``, ``availability_zones``."""
        return account.availability(instance_type)

    def find_best_available_instance(self) -> Result:
        """Return the first instance type that the region offers; launches nothing."""
        return account.best(self.current_config, self.log_timing)

    def get_instance_pricing(self) -> float:
        """Return the price of `instance_type` in USD/h, by AWS's price list.

        On a target that rents nothing, 0.

        Raises:
            PriceUnknown: the list has none, or more than one. A price is never invented.
        """
        return account.usd_per_hour(self.instance_type, self.target)

    def calculate_cost(self, runtime_seconds: float) -> Result:
        """Return what `instance_type` costs for some seconds, at least AWS's minimum of 60."""
        rate = self.get_instance_pricing()
        return results.cost_of(self.instance_type, rate, runtime_seconds)


def _copy(source: Path, folder: Path) -> Path:
    """Copy a file into a folder, whole or not at all; one that is there already stays."""
    path = folder / source.name
    if path.exists() and path.samefile(source):
        return path
    part = path.with_name(f"{path.name}.part")
    try:
        shutil.copy2(source, part)
        part.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
    return path
