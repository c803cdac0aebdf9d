"""A trial while it runs: its answers to the run's hooks, and its heartbeat."""

import logging
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import Trial as OptunaTrial

from finesweep.config.study import StopWhen, StudyConfig
from finesweep.errors import (
    DatabaseGone,
    DataChanged,
    FinesweepError,
    OutputError,
    ProcessDied,
    StoreError,
)
from finesweep.hooks import (
    Noise,
    RunState,
    TrialLost,
    TrialPaused,
    TrialPruned,
    TrialTimeout,
    current_hooks,
)
from finesweep.io.output import causes, is_output_error
from finesweep.io.patience import describe, single_attempts, store_error, working_time
from finesweep.io.redaction import redact
from finesweep.study import unwritten
from finesweep.study.baseline import is_baseline
from finesweep.study.heartbeat import beat
from finesweep.study.identity import refuse_other_model, refuse_other_rows
from finesweep.study.liveness import BEAT_EVERY_S
from finesweep.study.pausing import Pausing, RungCheck
from finesweep.study.pruning import is_behind, step_of
from finesweep.study.queue import TrialQueue
from finesweep.study.records import Outcome, Progress, StudyRecord, TrialRecord
from finesweep.study.samplers import make_pruner
from finesweep.study.signals import stop
from finesweep.tags import Tag

log = logging.getLogger(__name__)
LAST_BEAT_S = 10.0  # that the end of a trial waits for a heartbeat on its way


class _OwnRecord(TrialRecord):
    """The record of a trial that this process runs. Writing raises TrialLost if another process ended it."""

    def write(self, attrs: dict[str, Any], steps: dict[int, float] | None = None) -> None:
        try:
            super().write(attrs, steps)
        except UpdateFinishedTrialError as error:
            raise TrialLost(f"{self.name} was ended by somebody else") from error


class RunningTrial:
    """Implements `finesweep.hooks.RunHooks` for an Optuna trial that this process owns."""

    def __init__(
        self, queue: TrialQueue, trial: OptunaTrial, tags: dict[str, str], check_runs: Callable[[], object]
    ) -> None:
        """check_runs: raises DatabaseGone if the store of the runs was deleted."""
        self.queue, self.trial, self._tags = queue, trial, tags
        self.record = _OwnRecord(trial)
        self.config: StudyConfig = queue.config
        self.smaller_batch: list[str] | None = None  # overrides for another try when a GPU's memory runs out
        self.outcome: Outcome | None = None  # once it is signed off
        self.out_of_memory = False
        self.trouble: FinesweepError | None = None  # of a disk or of a store, which ends the worker
        self.folder: Path | None = None  # of its outputs
        self.is_left = False  # to a recovery, which knows the outcome: one of the stores could not take it
        self._check_runs = check_runs
        self._deleted: DatabaseGone | None = None
        self._stopped = False  # by a person, this trial alone
        self._pruner = make_pruner(self.config)
        pausing = Pausing.of(trial.study, self.config)
        self._rung_check = RungCheck(pausing, trial.study, self.record, trial.number) if pausing else None
        self._lost = False
        self._told = False  # whether the trial says that this worker was told to stop
        self._progress, self._written = Progress(), Progress()  # as it is, and as the storage has it
        self._curve: list[tuple[float, float]] = []  # progress and value of each evaluation
        self._result: tuple[list[float], str] | None = None
        self._started = working_time()
        self._over, self._beating = threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    @property
    def run_name(self) -> str:
        return f"trial-{self.trial.number:04d}"

    @property
    def tags(self) -> dict[str, str]:
        own = {Tag.STUDY: self.queue.name, Tag.TRIAL: str(self.trial.number)}
        lineage = {
            Tag.RETRY_OF: self.record.retry_of,
            Tag.CONTINUES: self.record.continues,
            Tag.CONFIRMS: self.record.confirms,
            Tag.REUSED_OF: self.record.reused_of,
        }
        return self._tags | own | {key: str(value) for key, value in lineage.items() if value is not None}

    @property
    def predicts(self) -> bool:
        return False  # the best one does, in the finish step

    @property
    def wants_noise(self) -> bool:
        """A person's own metric may take long: it is computed more often only where a budget needs it."""
        is_own = "." in StudyRecord(self.queue.study).metric
        return not self.config.objectives and (not is_own or self.config.stop_when is StopWhen.noise)

    @property
    def metrics(self) -> frozenset[str]:
        return frozenset(self.config.objectives)

    @property
    def stopping(self) -> bool:
        return stop.requested or self._deleted is not None

    def loaded(self, rows: Mapping[str, str], model: str | None) -> None:
        refuse_other_rows(self.trial.study, rows)
        refuse_other_model(self.trial.study, model)

    def unreadable(self, error: Exception) -> None:
        """Raises DataChanged: the command that started the sweep has read them."""
        if isinstance(error, DataChanged):
            raise error
        raise DataChanged(
            f"{error}; the rows could be read when the sweep began: put them back, and start the same "
            "command again"
        ) from error

    def check(self) -> None:
        if self._lost:
            raise TrialLost(f"trial {self.trial.number} was taken over while its worker was out of sight")
        if self._stopped:
            raise TrialPruned
        limit = self.config.trial_timeout_s
        if limit is not None and working_time() - self._started > limit:
            raise TrialTimeout(f"ran longer than hydra.sweeper.study.trial_timeout_s={limit:g}")

    def started(self, run_id: str) -> None:
        self.record.run_id = run_id

    def progress(self, **fields: Any) -> None:
        self._progress = replace(self._progress, **fields)

    def evaluated(self, value: float, progress: float) -> None:
        self.progress(value=value)
        if self.config.objectives:
            return
        self.check()
        step, known = step_of(progress), {step_of(share) for share, _ in self._curve}
        self._curve.append((progress, value))
        curve = TrialRecord.attributes(curve=self._curve)
        self.record.write(curve, {} if step in known else {step: value})
        is_judged = progress < 1.0 and not self._is_spared
        if is_judged and is_behind(self._pruner, self.trial.study, self.trial.number):
            raise TrialPruned

    def saved(self) -> None:
        self.check()
        if self._rung_check and not self._is_spared and self._rung_check.pauses(self._curve):
            raise TrialPaused

    @cached_property
    def _is_spared(self) -> bool:
        """Whether it is trained to its end however bad it looks.

        A confirmation is, a winner whose weights are trained again, and what the search is measured against.
        """
        is_needed = self.record.confirms is not None or self.record.again is not None
        return is_needed or is_baseline(self.trial.study, self.trial.number)

    def trained(
        self, value: float, metrics: dict[str, float], checkpoint: str, noise: Noise | None = None
    ) -> None:
        values = [value]
        if self.config.objectives:
            values = [_metric(metrics, name) for name in self.config.objectives]
        if not all(map(math.isfinite, values)):
            raise ArithmeticError(f"objective is {values}")
        if noise is not None:
            self.record.noise = noise
        elif self.config.stop_when is StopWhen.noise:
            log.warning("the noise of this score is not known, so stop_when=noise cannot decide by it")
        self._result = values, self.queue.places.write(Path(checkpoint))

    def ending(self, state: RunState, error: BaseException | None) -> RunState:
        outcome = Outcome(state)
        if self._result and state is RunState.COMPLETE:
            outcome.values, outcome.checkpoint = self._result
        if isinstance(error, ProcessDied):
            outcome.death = str(error)
        if error is not None and state is RunState.FAIL:
            outcome.error = redact(f"{type(error).__name__}: {error}")
            self.trouble = self._trouble(error)
            if self.trouble:  # the machine's or the store's fault, not the trial's: it goes on from here
                outcome = Outcome(RunState.INTERRUPTED)
            self.out_of_memory = _is_cuda_out_of_memory(error)
            if self.out_of_memory and self.config.retry_oom and self.record.retry_overrides is None:
                outcome.retry_overrides = self.smaller_batch
        return self.sign_off(outcome).state

    def _trouble(self, error: BaseException) -> FinesweepError | None:
        """Returns the error of a worker whose trial ended by a fault of the machine or of a store."""
        number = self.trial.number
        if isinstance(error, (DatabaseGone, DataChanged)):
            return error
        if is_output_error(error):
            remedy = "" if isinstance(error, OutputError) else "make room, and "
            return OutputError(
                f"trial {number}: {error}. It was handed back: {remedy}the same command goes on from its "
                "last checkpoint"
            )
        if cause := store_error(error):
            return StoreError(
                f"trial {number}: {cause}. It was handed back: once the store answers again, the same "
                "command goes on from its last checkpoint"
            )
        return None

    def hand_back(self, error: BaseException) -> None:
        """Signs the trial off as interrupted by what is not its fault, which costs none of its retries."""
        self.trouble = self._trouble(error)
        self.sign_off(Outcome(RunState.INTERRUPTED))

    def sign_off(self, outcome: Outcome) -> Outcome:
        """Writes how the run ended into the trial; into its folder if the storage does not answer.

        Returns how the trial ends: pruned if a person has stopped it.
        Raises: TrialLost; StoreError if the trial has no folder yet.
        """
        self._write_heartbeat()
        try:
            self.queue.check_present()
            outcome = self.queue.sign_off(self.trial.number, outcome)
        except (StoreError, DatabaseGone) as error:
            if self.folder is None:
                raise
            unwritten.keep(self.folder, outcome)
            self.is_left = True
            self.trouble = StoreError(
                f"trial {self.trial.number}: {error}. That it is {outcome.state} is kept in its folder, "
                f"{self.folder}: once the store answers again, the same command goes on from there"
            )
        self.trouble = self._deleted or self.trouble
        self.outcome = outcome
        return outcome

    def __enter__(self) -> "RunningTrial":
        self._token = current_hooks.set(self)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        current_hooks.reset(self._token)
        self._over.set()
        self._thread.join(LAST_BEAT_S)  # a store that hangs in the last heartbeat keeps nobody
        self.queue.let_go(self.trial.number)

    def _beat(self) -> None:
        while not self._over.wait(BEAT_EVERY_S):
            self._write_heartbeat()

    def _write_heartbeat(self) -> None:
        with self._beating:  # the thread's beat would write older progress after the last one
            self._beat_once()

    def _beat_once(self) -> None:
        try:
            self.queue.check_present()
            with single_attempts():  # the next heartbeat is the next attempt
                progress = self._progress
                heard = beat(self.trial, None if progress == self._written else progress)
                stop.hear(heard.stopped_commands, heard.halted)
                self._stopped = heard.trial_is_stopped
                self._written = progress
                self._check_runs()
                if stop.requested and not self._told:
                    TrialRecord(self.trial).told_to_stop = self._told = True
        except DatabaseGone as error:  # the training saves and ends: nothing more of it would be kept
            self._deleted = error
        except UpdateFinishedTrialError:
            self._lost = True  # ended by somebody else, who thought this worker dead
        except Exception as error:  # the storage is away for a moment
            log.warning("heartbeat of trial %d failed: %s", self.trial.number, describe(error))


def _metric(metrics: dict[str, float], name: str) -> float:
    return metrics[name] if name in metrics else metrics[f"eval_{name}"]


def _is_cuda_out_of_memory(error: BaseException) -> bool:
    """Recognizes the error by name and message: torch is not imported here, and CUDA has its own types."""
    return any(
        type(cause).__name__ == "OutOfMemoryError"
        or any(text in str(cause) for text in ("CUDA out of memory", "ALLOC_FAILED"))
        for cause in causes(error)
    )
