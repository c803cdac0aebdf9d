"""The line between a run and the sweep it may belong to.

A sweep's worker sets `current_trial` around a run; a plain run has none. Neither side imports the other.
"""

from contextvars import ContextVar
from typing import Protocol


class TrialPruned(Exception):
    """The sweep stopped this run: it is behind the others."""


class TrialTimeout(Exception):
    """The run took longer than a trial may."""


class TrialLost(Exception):
    """Somebody else has taken this trial over: its worker was thought dead."""


class Trial(Protocol):
    """What a run may ask of the trial that it is."""

    @property
    def run_name(self) -> str: ...

    @property
    def tags(self) -> dict[str, str]:
        """MLflow tags: study, trial number, lineage, and `mlflow.parentRunId`."""

    @property
    def predicts(self) -> bool:
        """Whether the run is to score and predict at its end, as a plain one does."""

    @property
    def metrics(self) -> frozenset[str]:
        """Names of metrics that are to be scored besides the run's own and its task's usual ones."""

    @property
    def stopping(self) -> bool:
        """Whether the run should save now, and raise KeyboardInterrupt: somebody pressed Ctrl-C."""

    def check(self) -> None:
        """Called after every step. Raises: TrialTimeout, TrialLost."""

    def started(self, run_id: str) -> None:
        """The run is open in MLflow under this id."""

    def progress(self, **fields: float | str) -> None:
        """Something for a person watching: epoch, step, examples/s; costs nothing."""

    def evaluated(self, value: float, progress: float) -> None:
        """The objective at `progress`, the share of its training that the run has done, up to 1.0.

        Raises: TrialPruned when the run should stop here.
        """

    def trained(self, value: float, metrics: dict[str, float], checkpoint: str) -> None:
        """The best evaluation and its metrics. Raises: ArithmeticError if an objective is no number."""

    def ending(self, state: str, error: BaseException | None) -> str:
        """The run is about to be closed as COMPLETE, PRUNED, INTERRUPTED or FAIL. Returns what it is to be.

        Raises: TrialLost if it is no longer this worker's to close.
        """


current_hooks: ContextVar[Trial | None] = ContextVar("current_trial", default=None)
