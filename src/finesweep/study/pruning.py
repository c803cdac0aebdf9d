"""Lets Optuna's pruners compare trials at equal shares of their own training.

Trials differ in epochs and batch size, so they are compared where their schedules stand at the same place: at
every fifth per cent. Optuna's storage has the values where they were measured. A pruner sees the lines
between them instead, at those steps, through `_OnGrid`, a view of the study.
"""

from collections.abc import Container, Sequence
from copy import copy
from itertools import chain
from math import ceil
from typing import Any

from optuna.pruners import BasePruner, NopPruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from finesweep.config.study import Pruner
from finesweep.study.editing import hidden
from finesweep.study.records import TrialRecord
from finesweep.study.request import SweepRequest
from finesweep.study.rungs import Rungs

GRID = 5  # per cent of a training between two steps of the grid
Curve = Sequence[tuple[float, float]]  # the share of the training, up to 1.0, and the value measured there


def is_behind(pruner: BasePruner, study: Study, number: int) -> bool:
    """Asks a pruner whether a trial shall be stopped now."""
    if isinstance(pruner, NopPruner):  # it would read the whole study for nothing
        return False
    seen = _OnGrid.of(study)
    return bool(pruner.prune(seen, seen.get_trials(deepcopy=False)[number]))


def step_of(progress: float) -> int:
    """Returns the step, in per cent, under which a measured value is reported; 100 is the end alone."""
    return 100 if progress >= 1.0 else min(99, round(progress * 100))


def on_grid(curve: Curve) -> dict[int, float]:
    """Returns the values at every fifth per cent, on the line between those measured before and after it.

    The first measured value counts from five per cent before it.
    """
    values: dict[int, float] = {}
    last = None
    for progress, value in curve:
        before, start = last or (max(0.0, progress - GRID / 100), value)
        for step in range(GRID, 101, GRID):
            if before * 100 < step <= progress * 100 + 1e-9:
                share = (step / 100 - before) / (progress - before)
                values[step] = start + (value - start) * min(1.0, share)
        last = progress, value
    return values


def _comparable(trial: FrozenTrial) -> FrozenTrial:
    """Returns the trial with values on the grid; one from before `curve` was recorded has only these."""
    curve = TrialRecord(trial).curve
    if curve is None:
        return trial
    seen = copy(trial)
    seen.intermediate_values = on_grid(curve)
    return seen


def never_stopped(sweep: SweepRequest) -> str | None:
    """Says, for a person, if the shortest trainings have no evaluation at which they could be stopped."""
    config = sweep.config.study
    if config.pruner is Pruner.none:
        return None
    epochs, per_epoch = (_least(sweep, key) for key in ("num_train_epochs", "evals_per_epoch"))
    evaluations = epochs * per_epoch  # the last one may come sooner after the one before
    before_the_end = [(index / evaluations, 0.0) for index in range(1, ceil(evaluations))]
    if config.pruner is Pruner.pause:
        is_judged = bool(Rungs(maximize=True, **config.pruner_options).judged(before_the_end))
    else:
        is_judged = bool(before_the_end)
    return None if is_judged else (
        f"pruner={config.pruner.value}: trainings with num_train_epochs={epochs:g} and evals_per_epoch="
        f"{per_epoch:g} have no evaluation at which they could be stopped; trainer.evals_per_epoch=4 gives "
        "them some"
    )  # fmt: skip


def _least(sweep: SweepRequest, name: str) -> float:
    """Returns the least value of a key of the trainer in any trial."""
    found: list[Any] = [one.distribution for one in sweep.space if one.key == f"trainer.{name}"]
    values = [getattr(one, "choices", None) or [one.low] for one in found]
    return min(map(float, chain(*values)), default=float(getattr(sweep.run.trainer, name)))


class _OnGrid(Study):
    """A study whose trials have values at every fifth per cent of their training."""

    @classmethod
    def of(cls, study: Study) -> "_OnGrid":
        seen = cls.__new__(cls)
        seen.__dict__.update(study.__dict__)
        return seen

    def get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        seen = [_comparable(hidden(trial)) for trial in super().get_trials(deepcopy, states)]
        return [trial for trial in seen if states is None or trial.state in states]

    @property
    def best_trial(self) -> FrozenTrial:
        """Raises: ValueError without a complete trial, as Optuna does."""
        sign = 1 if self.direction is StudyDirection.MAXIMIZE else -1
        complete = self.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return max(complete, key=lambda trial: sign * float(trial.values[0]))
