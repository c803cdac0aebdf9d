"""The interface between a run and whoever started it: a study's worker, a reproduction, or nobody.

Whoever starts a run sets `current_hooks` around it; a plain run has none. Whoever shows a run to a person
sets `current_watcher`. Neither side imports the other.
"""

from collections.abc import Mapping
from contextvars import ContextVar
from enum import StrEnum
from typing import NamedTuple, Protocol, SupportsFloat


class RunState(StrEnum):
    """How a run ended. The values are stored in tags and in Optuna's attributes."""

    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"  # stopped early: it is behind the others, or a person stopped it
    PAUSED = "PAUSED"  # stopped at a rung, with a checkpoint; it may go on later as another trial
    INTERRUPTED = "INTERRUPTED"  # by a signal, or by the death of its process; it can be resumed
    FAIL = "FAIL"


class Noise(NamedTuple):
    """How far a score would vary over other evaluation rows of the same kind."""

    std: float  # its standard error
    rows: int


class TrialPruned(Exception):
    """The run is stopped early: it is behind the others, or a person stopped it."""


class TrialPaused(TrialPruned):
    """The run is stopped at a rung; its last checkpoint is whole, and it may go on from there."""


class TrialTimeout(Exception):
    """The run took longer than a trial may."""


class TrialLost(Exception):
    """Another process has taken the trial over, because it took this worker for dead."""


class RunNotClosed(Exception):
    """A run has ended and its outcome is known, but its store could not be told: a recovery must close it."""


class StepHooks(Protocol):
    """The part of `RunHooks` that a training needs between its first step and its last."""

    @property
    def stopping(self) -> bool:
        """Whether the run shall save now and raise KeyboardInterrupt, because a stop was requested."""

    def check(self) -> None:
        """Is called after every step. Raises: TrialPruned if a person stopped it, TrialTimeout, TrialLost."""

    def progress(self, **fields: float | str) -> None:
        """Reports epoch, step, examples/s for people who watch; costs nothing."""

    def evaluated(self, value: float, progress: float) -> None:
        """Reports the objective at `progress`, the share of the training that is done, up to 1.0.

        Raises: TrialPruned when the run shall stop here.
        """

    def saved(self) -> None:
        """Reports that the last checkpoint is whole, and that the training is not over.

        Raises: TrialPaused when the run shall wait here, and what `check` raises.
        """


class RunHooks(StepHooks, Protocol):
    """The questions that a run asks of whoever started it, and the events that it reports."""

    @property
    def run_name(self) -> str: ...

    @property
    def tags(self) -> dict[str, str]:
        """MLflow tags of the run: kind, study, trial number, lineage, parent run."""

    @property
    def predicts(self) -> bool:
        """Whether the run scores and predicts at its end, as a plain run does."""

    @property
    def wants_noise(self) -> bool:
        """Whether `trained` needs the noise, for which the metric is computed 100 times more."""

    @property
    def metrics(self) -> frozenset[str]:
        """Names, without `eval_`, of metrics to score besides `data.metric` and the task's usual ones."""

    def loaded(self, rows: Mapping[str, str], model: str | None) -> None:
        """The run has read its splits, and will read its model.

        rows: the SHA-256 of each split, by name. model: that of a folder's files, else None.
        Raises: DataChanged.
        """

    def unreadable(self, error: Exception) -> None:
        """The run cannot read its splits. Raises: DataChanged if they could be read before."""

    def started(self, run_id: str) -> None:
        """The run is open in MLflow under this id."""

    def trained(
        self, value: float, metrics: dict[str, float], checkpoint: str, noise: Noise | None = None
    ) -> None:
        """Reports the best evaluation. Raises: ArithmeticError if an objective is no number.

        noise: that of `value`; None if it is not known, or not wanted.
        """

    def ending(self, state: RunState, error: BaseException | None) -> RunState:
        """The run is about to be closed in `state`. Returns the state to close it in.

        Raises: TrialLost if this worker may no longer close it.
        """


current_hooks: ContextVar[RunHooks | None] = ContextVar("current_hooks", default=None)


class RunWatcher(Protocol):
    """Shows a training to a person. No result depends on it."""

    def stepped(
        self, step: int, max_steps: int, epoch: float, loss: SupportsFloat, examples_per_s: float,
        seconds_left: float,
    ) -> None:  # fmt: skip
        """Is called after every step, and must cost nothing.

        loss: the mean since the last evaluation; on a GPU, reading it waits for the GPU.
        """

    def evaluated(self, step: int, max_steps: int, scores: dict[str, float]) -> None:
        """Gets an evaluation's metric and loss by the Trainer's names: eval_accuracy, eval_loss."""


current_watcher: ContextVar[RunWatcher | None] = ContextVar("current_watcher", default=None)
