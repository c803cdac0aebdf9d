"""The line between a run and the sweep it may belong to.

A sweep's worker sets `current_trial` around a run; a plain run has none. Neither side imports the other.
"""

from contextvars import ContextVar
from typing import Protocol


class TrialPruned(Exception):
    """The sweep stopped this run: it is behind the others."""


class Trial(Protocol):
    """What a run may ask of the trial that it is."""

    @property
    def run_name(self) -> str: ...

    @property
    def tags(self) -> dict[str, str]:
        """MLflow tags: study, trial number, lineage, and `mlflow.parentRunId`."""

    def started(self, run_id: str) -> None:
        """The run is open in MLflow under this id."""

    def progress(self, **fields: float | str) -> None:
        """Something for a person watching: epoch, step, examples/s; cheap, may be dropped."""

    def evaluated(self, value: float, evaluation: int) -> None:
        """The objective after the n-th evaluation, counted from 1.

        Raises: TrialPruned when the trial should stop here.
        """


current_trial: ContextVar[Trial | None] = ContextVar("current_trial", default=None)
