"""A worker: takes trials until nothing is left to take, and runs each as an ordinary Hydra job.

Hydra's launcher starts N of these in place of N jobs. Workers share nothing but the study. None waits
for another, except for the last trials of a search, which decide what is to be confirmed.
"""

import gc
import logging
import shutil
import time
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobStatus
from hydra.types import HydraContext, TaskFunction
from optuna.trial import Trial as OptunaTrial

from finesweep import tracking
from finesweep.config.places import in_project
from finesweep.config.run import TrackingConfig
from finesweep.config.study import SweepConfig
from finesweep.errors import DataChanged
from finesweep.hooks import RunNotClosed, RunState, TrialLost
from finesweep.io.job_secrets import by_reference, dereferenced, protect
from finesweep.io.patience import store_error
from finesweep.machine.imports import import_all
from finesweep.machine.placement import Placement
from finesweep.study.queue import TrialQueue
from finesweep.study.records import Outcome, StudyRecord
from finesweep.study.remaining import has_work, is_over, more_may_come
from finesweep.study.selection import is_running
from finesweep.study.signals import stop
from finesweep.study.space import Space
from finesweep.tags import Tag
from finesweep.worker.allotment import Allotment
from finesweep.worker.describing import Describer
from finesweep.worker.isolation import ending_if_orphaned, in_fresh_process
from finesweep.worker.jobs import TrialJobs
from finesweep.worker.paused import give_up_surplus
from finesweep.worker.recovery import recover
from finesweep.worker.retention import drop_losers
from finesweep.worker.trial import RunningTrial
from finesweep.worker.untrained import record_failure, reuse

log = logging.getLogger(__name__)
POLL_S = 1.0
STORAGE = "hydra.sweeper.study.storage"


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
    commands: tuple[str, ...]  # launching processes, which may ask workers to stop; first the one that waits
    began: float  # when their command was noted in the study, by the study's clock
    allotment: Allotment = field(default_factory=Allotment)

    def __post_init__(self) -> None:
        self._with_addresses(by_reference)  # sets the variables before the launcher starts any process

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out passwords: launchers write the pickled worker into files."""
        return self.__dict__ | self._with_addresses(by_reference)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Raises: ConfigError if a variable that holds a password is not set on this host."""
        self.__dict__.update(state)
        self.__dict__.update(self._with_addresses(dereferenced))

    def _with_addresses(self, change: Callable[[str, str], str]) -> dict[str, Any]:
        """Returns the fields with a store's address, after `change`, which gets key and address."""
        study, tracking = self.sweep.study, self.tracking
        return {
            "sweep": replace(self.sweep, study=replace(study, storage=change(STORAGE, study.storage))),
            "tracking": replace(tracking, uri=change("tracking.uri", tracking.uri)),
        }

    def __call__(self, _: object) -> int:
        """Returns how many trials this worker ended."""
        logging.captureWarnings(True)  # into the log: several workers share one terminal
        job = HydraConfig.get()
        protect(Path(job.runtime.output_dir, job.output_subdir or "."))
        with stop.listening(*self.commands, began=self.began):
            tags = self.placement.take(int(job.job.num), self._is_needed)
        if tags is None or stop.requested:
            return 0
        self.tags = tags
        tracking.await_store(self.tracking)
        import_all("finesweep.training.run")  # the server, if there is one, has imported it
        with (
            in_project(self.project),
            ending_if_orphaned(self.commands[0]),
            stop.listening(*self.commands, began=self.began),
        ):
            ended = self._work_in_processes(0)
            while not stop.requested and self._finish():
                ended = self._work_in_processes(ended)
        gc.freeze()  # or the process ends seconds later, having collected what torch and MLflow made
        return ended

    def _work_in_processes(self, ended: int) -> int:
        """Works in this process, and in a new one whenever a GPU's memory ran out. Returns as `__call__`.

        ended: trials that this worker ended before.
        """
        ended, out_of_memory = self.work(ended)
        # Only a new process surely has the GPU's memory free.
        while out_of_memory and not is_over(self.queue()):
            with suppress(BrokenProcessPool):  # it was killed; the next one recovers its trial
                ended, out_of_memory = in_fresh_process(partial(self.work, ended))
        return ended

    def _is_needed(self) -> bool:
        """Tells whether a worker that waits for its GPUs still has something to do."""
        with closing(self.queue()) as queue:
            stop.read_from(StudyRecord(queue.study))
            return not stop.requested and (has_work(queue) or is_running(queue.skim()))

    def _finish(self) -> bool:
        """Takes the finish step. Returns whether trials were queued instead."""
        # Imported here, because it imports torch and transformers; the launching process does without them.
        from finesweep.worker.finish import finish

        return finish(
            self.queue(),
            self.tracking,
            self.parent_run_id,
            self.sweep.keep_checkpoints,
            self.jobs.config,
        )

    @property
    def project(self) -> Path:
        """The folder that the command was started in; Hydra may have changed this worker's working folder."""
        return Path(self.master_config.hydra.runtime.cwd)

    @property
    def jobs(self) -> TrialJobs:
        return TrialJobs(
            self.task_function,
            self.hydra_context,
            self.master_config,
            self.overrides,
            self.space,
            self.project,
        )

    def queue(self) -> TrialQueue:
        return TrialQueue(self.sweep.study, self.space, self.run_seed, self.project)

    def work(self, ended: int) -> tuple[int, bool]:
        """Runs trials until none is left.

        ended: how many ended before. Returns how many ended by now, and whether the last ran out of a GPU's
        memory.
        """
        queue = self.queue()
        self._describer = Describer(self.tracking, self.parent_run_id)
        with stop.listening(*self.commands, began=self.began), closing(queue):
            while trial := self._next(queue, is_first=not ended):
                ended += 1
                if self.run_trial(queue, trial):
                    return ended, True
        return ended, False

    def _next(self, queue: TrialQueue, is_first: bool) -> OptunaTrial | None:
        """Waits for the next trial; None when none is left, or no time for one.

        The first one is always taken: one that is longer than any allotment would never end.
        """
        while True:
            queue.check_present()
            stop.read_from(StudyRecord(queue.study))
            if stop.requested:
                return None
            if not is_first and not self.allotment.admits(queue.skim()):
                return None
            if trial := queue.patience.call(self._take, queue):
                return trial
            if not more_may_come(queue):
                return None
            time.sleep(POLL_S)

    def _take(self, queue: TrialQueue) -> OptunaTrial | None:
        """Recovers lost trials, among them what an earlier attempt left half made; then takes the next.

        Raises: StoreError, which names the store: MLflow's is waited for by its own patience.
        """
        tracking.await_store(self.tracking)
        recover(queue, self.tracking)
        return queue.next_trial()

    def run_trial(self, queue: TrialQueue, trial: OptunaTrial) -> bool:
        """Runs a trial and tells the study how it ended. Returns whether a GPU's memory ran out.

        A run that could not be closed leaves its trial to the next recovery.
        Raises: KeyboardInterrupt, after handing it back; OutputError, likewise, for a full disk; StoreError,
        likewise, for a store that stays locked or away.
        """
        tags = {Tag.PARENT_RUN_ID: self.parent_run_id} | self.tags
        with RunningTrial(queue, trial, tags, partial(tracking.open_store, self.tracking)) as running:
            try:
                self._run(queue, running)
                if not running.is_left:
                    queue.tell(trial.number)
            except TrialLost as lost:
                log.warning("%s", lost)
                running.trouble = None  # whoever took it over may have moved its files
            except KeyboardInterrupt:
                if running.outcome is None:  # its run was not open yet
                    running.sign_off(Outcome(RunState.INTERRUPTED))
                if not running.is_left:
                    queue.tell(trial.number)
                if not stop.requested and not running.trouble:  # a stop ends the loop of `work` instead
                    raise
        if running.trouble:
            raise running.trouble
        self._describer.after(queue, trial.number)
        if running.outcome and running.outcome.state is RunState.COMPLETE:
            drop_losers(queue, self.sweep.keep_checkpoints)
        if running.outcome and running.outcome.state is RunState.PAUSED:
            give_up_surplus(queue)
        return running.out_of_memory

    def _run(self, queue: TrialQueue, running: RunningTrial) -> None:
        """Runs the trial's job and signs its outcome off, however it ends.

        Raises: KeyboardInterrupt, TrialLost.
        """
        try:
            if running.record.reused_of is not None:
                return reuse(queue, running, self.tracking, self.experiment)
            job = self.jobs.run(queue, running)
            error = job._return_value if job.status is JobStatus.FAILED else None
        except Exception as problem:  # values that do not compose together, Hydra's own files
            error = problem
        if isinstance(error, TrialLost):
            raise error
        if isinstance(error, RunNotClosed):  # told now, the two stores would contradict each other
            running.is_left = True
        if running.outcome is None:
            cause = error or RuntimeError("the run ended without a result")
            self._end_unopened(running, cause)
        if error is not None:
            self._clean_up(running, error)

    def _end_unopened(self, running: RunningTrial, error: Exception) -> None:
        """Ends a trial whose run was never open: as failed, or as interrupted if it is not to blame."""
        try:
            if _is_trouble(error):
                raise error
            record_failure(running, error, self.tracking, self.experiment)
        except Exception as problem:
            if running.outcome is not None or not _is_trouble(problem):
                raise
            running.hand_back(problem)

    def _clean_up(self, running: RunningTrial, error: BaseException) -> None:
        """Logs a failed trial's log as an artifact; removes checkpoints that nobody will resume."""
        record, state = running.record, running.outcome.state if running.outcome else RunState.FAIL
        folder = running.folder
        if running.is_left:
            log.error("trial %d: left to the next recovery", running.trial.number, exc_info=error)
        if folder and state not in (RunState.INTERRUPTED, RunState.PAUSED):
            shutil.rmtree(folder / "training", ignore_errors=True)
        if folder and state is RunState.FAIL:
            log.error("trial %d failed", running.trial.number, exc_info=error)
            tracked = tracking.TrackedRun(tracking.open_store(self.tracking), str(record.run_id))
            for path in sorted(folder.glob("*.log")):
                tracked.log_file(path)


def _is_trouble(error: BaseException) -> bool:
    """Tells whether a store is the cause, or somebody who edited the data: no trial could do better."""
    return isinstance(error, DataChanged) or store_error(error) is not None
