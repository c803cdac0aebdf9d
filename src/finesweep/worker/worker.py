"""A worker: takes trials until nothing is left to take, and runs each as an ordinary Hydra job.

Hydra's launcher starts N of these in place of N jobs. Workers meet in the study alone; none waits for
another, but for the last trials of a search that decide what is to be confirmed.
"""

import gc
import logging
import shutil
import time
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, run_job
from hydra.types import HydraContext, TaskFunction
from omegaconf import open_dict
from optuna.trial import Trial as OptunaTrial

from finesweep import tracking
from finesweep.config.run import TrackingConfig
from finesweep.config.study import SweepConfig
from finesweep.errors import OutputError
from finesweep.hooks import RunState, TrialLost
from finesweep.io.output import is_output_error
from finesweep.io.redaction import protect, redact_urls
from finesweep.machine.placement import Placement
from finesweep.study.grammar import as_overrides
from finesweep.study.queue import TrialQueue
from finesweep.study.records import Outcome, TrialRecord
from finesweep.study.signals import stop
from finesweep.study.space import Space, params_of
from finesweep.tags import Tag
from finesweep.worker.isolation import in_fresh_process
from finesweep.worker.recovery import recover
from finesweep.worker.retention import drop_losers
from finesweep.worker.trial import RunningTrial

log = logging.getLogger(__name__)
POLL_S = 1.0
BATCH, ACCUMULATION = "trainer.per_device_train_batch_size", "trainer.gradient_accumulation_steps"


@dataclass
class Worker:
    """The task function that the launcher gets. It is pickled: Hydra's own objects, values, ids and URLs."""

    task_function: TaskFunction
    hydra_context: HydraContext
    master_config: Any  # Hydra's composed config of the sweep
    overrides: list[str]  # the same for every trial
    sweep: SweepConfig
    space: Space
    run_seed: int
    tracking: TrackingConfig
    experiment: str
    parent_run_id: str
    placement: Placement
    command: str  # the launching process, which may ask its workers to stop

    def __call__(self, _: object) -> int:
        """Returns how many trials this worker ended."""
        logging.captureWarnings(True)  # into the log: several workers share one terminal
        job = HydraConfig.get()
        protect(Path(job.runtime.output_dir, job.output_subdir or "."))
        self.tags = self.placement.take(int(job.job.num))
        with stop.listening(self.command):
            ended, out_of_memory = self.work()
            # What a GPU's memory held is free for sure only in another process.
            while out_of_memory and not self.queue().is_over():
                with suppress(BrokenProcessPool):  # it was killed; the next one recovers its trial
                    more, out_of_memory = in_fresh_process(self.work)
                    ended += more
            if not stop.requested:
                # Here, for it brings torch and transformers, which the launching process does without.
                from finesweep.worker.finish import finish

                finish(
                    self.queue(),
                    self.tracking,
                    self.parent_run_id,
                    self.sweep.keep_checkpoints,
                    lambda trial: self.compose(trial.number, [*self.overrides, *self.point(trial)]),
                )
        gc.freeze()  # or the process ends seconds later, having collected what torch and MLflow made
        return ended

    def queue(self) -> TrialQueue:
        return TrialQueue(self.sweep.study, self.space, self.run_seed)

    def work(self) -> tuple[int, bool]:
        """Runs trials until none is left.

        Returns how many ended, and whether the last ran out of a GPU's memory.
        """
        queue = self.queue()
        ended = 0
        with stop.listening(self.command):
            while trial := self._next(queue):
                ended += 1
                if self.run_trial(queue, trial):
                    return ended, True
        return ended, False

    def _next(self, queue: TrialQueue) -> OptunaTrial | None:
        while True:
            stop.read_from(queue.study)
            if stop.requested:
                return None
            recover(queue, self.tracking)
            if trial := queue.next_trial():
                return trial
            if not queue.more_may_come():
                return None
            time.sleep(POLL_S)

    def run_trial(self, queue: TrialQueue, trial: OptunaTrial) -> bool:
        """Runs it, and tells the study how it ended. Returns whether a GPU's memory ran out.

        Raises: KeyboardInterrupt, after handing it back; OutputError, likewise, for a full disk.
        """
        with RunningTrial(queue, trial, {Tag.PARENT_RUN_ID: self.parent_run_id} | self.tags) as running:
            try:
                self._run(queue, running)
                queue.tell(trial.number)
            except TrialLost as lost:
                log.warning("%s", lost)
            except KeyboardInterrupt:
                if running.outcome is None:  # its run was not open yet
                    running.sign_off(Outcome(RunState.INTERRUPTED))
                queue.tell(trial.number)
                if not stop.requested:  # not by `Stop`, which asks first
                    raise
        if running.no_room:
            raise OutputError(
                f"trial {trial.number}: {running.no_room}. It was handed back: make room, and the same "
                "command goes on from its last checkpoint"
            )
        if running.outcome and running.outcome.state is RunState.COMPLETE:
            drop_losers(queue, self.sweep.keep_checkpoints)
        return running.out_of_memory

    def _run(self, queue: TrialQueue, running: RunningTrial) -> None:
        """Runs the trial's job and signs its outcome off, however it ends.

        Raises: KeyboardInterrupt, TrialLost.
        """
        if running.record.reused_of is not None:
            self._reuse(queue, running)
            return
        try:
            job = self.run_job(queue, running)
            error = job._return_value if job.status is JobStatus.FAILED else None
        except Exception as problem:  # values that do not compose together, Hydra's own files
            error = problem
        if isinstance(error, TrialLost):
            raise error
        if running.outcome is None:
            self._end_unsigned(running, error or RuntimeError("the run ended without a result"))
        if error is not None:
            self._clean_up(running, error)

    def run_job(self, queue: TrialQueue, running: RunningTrial) -> JobReturn:
        trial = running.trial
        own = [*self.overrides, *self.point(trial)]
        config = self.compose(trial.number, own)
        folder = Path(str(config.hydra.sweep.dir)) / f"trial-{trial.number:04d}"
        running.record.folder = str(folder)
        running.record.overrides = [redact_urls(text) for text in own if not text.startswith("hydra.")]
        batch, accumulation = (
            config.trainer.per_device_train_batch_size,
            config.trainer.gradient_accumulation_steps,
        )
        if batch > 1:
            running.smaller_batch = [f"{BATCH}={batch // 2}", f"{ACCUMULATION}={accumulation * 2}"]
        self._adopt_checkpoints(queue, trial, folder)
        return run_job(
            hydra_context=self.hydra_context,
            task_function=self.task_function,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )

    @staticmethod
    def point(trial: Any) -> list[str]:
        """Gives a trial's own overrides: its point, a smaller batch, another seed."""
        record = TrialRecord(trial)
        seed = [] if record.seed is None else [f"seed={record.seed}"]
        return [*as_overrides(params_of(trial)), *(record.retry_overrides or []), *seed]

    def compose(self, number: int, overrides: list[str]) -> Any:
        """Composes a trial's Hydra config.

        Its log goes to its own file: several workers share one terminal.
        """
        config = self.hydra_context.config_loader.load_sweep_config(
            self.master_config,
            [*overrides, f"hydra.sweep.subdir=trial-{number:04d}", "hydra.job_logging.root.handlers=[file]"],
        )
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        return config

    def _adopt_checkpoints(self, queue: TrialQueue, trial: OptunaTrial, folder: Path) -> None:
        """Moves the checkpoints of the last try that made some into a retry's folder."""
        trials, number = queue.trials(), TrialRecord(trial).retry_of
        while number is not None and not (folder / "training").exists():
            earlier = TrialRecord(trials[number])
            if earlier.folder and (made := Path(earlier.folder) / "training").is_dir():
                folder.mkdir(parents=True, exist_ok=True)
                made.rename(folder / "training")
            number = earlier.retry_of

    def _reuse(self, queue: TrialQueue, running: RunningTrial) -> None:
        """Ends a trial whose point was evaluated before with that value, and records a run that says so."""
        record = running.record
        assert record.reused_of is not None
        twin = queue.trials()[record.reused_of]
        known = TrialRecord(twin)
        assert known.folder is not None and known.overrides is not None
        record.folder, record.overrides = known.folder, known.overrides
        outcome = Outcome(RunState(twin.state.name), twin.values or [], known.checkpoint)
        tracked = tracking.record_run(self.tracking, self.experiment, running.run_name, running.tags)
        running.started(tracked.run_id)
        tracked.log_params(params_of(running.trial))
        if outcome.values:
            tracked.log_metrics({"best_value": outcome.values[0]}, step=0)
        running.sign_off(outcome)
        tracked.end(outcome.state)

    def _end_unsigned(self, running: RunningTrial, error: Exception) -> None:
        """Records a FAILED run for a trial that failed before its run was open.

        Raises: OutputError where a disk is too full to note anything; whatever kept an open run from being
        closed. The next start then finds the trial without an owner.
        """
        if is_output_error(error):
            text = f"trial {running.trial.number}: {error}; make room, and start the same command again"
            raise OutputError(text) from error
        if running.record.run_id is not None:
            raise error
        tracked = tracking.record_run(self.tracking, self.experiment, running.run_name, running.tags)
        running.started(tracked.run_id)
        tracked.end(running.ending(RunState.FAIL, error), f"{type(error).__name__}: {error}")

    def _clean_up(self, running: RunningTrial, error: BaseException) -> None:
        """Logs a failed trial's log as an artifact; removes checkpoints that nobody will resume."""
        record, state = running.record, running.outcome.state if running.outcome else RunState.FAIL
        folder = Path(record.folder) if record.folder else None
        if folder and state is not RunState.INTERRUPTED:
            shutil.rmtree(folder / "training", ignore_errors=True)
        if folder and state is RunState.FAIL:
            log.error("trial %d failed", running.trial.number, exc_info=error)
            tracked = tracking.TrackedRun(tracking.open_store(self.tracking), str(record.run_id))
            for path in sorted(folder.glob("*.log")):
                tracked.log_file(path)
