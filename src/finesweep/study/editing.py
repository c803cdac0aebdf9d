"""Edits the space of a study: trials outside of the new one are history, and count for nothing else.

Neither the sampler nor a pruner sees them, no budget counts them, and none of them wins. Where a later edit
takes their points in again, they are back.
"""

from collections.abc import Iterable, Sequence
from copy import copy
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from finesweep.study.cache import OUTSIDE
from finesweep.study.records import StudyRecord, TrialRecord
from finesweep.study.space import Space, contains, distributions, range_of

SPACE = "space"  # the key of a study's identity


def ranges(space: Space) -> dict[str, str]:
    """Writes the ranges of a space, as an identity has them."""
    return {dimension.name: str(dimension) for dimension in space}


def may_be_edited(stored: dict[str, str], requested: dict[str, str]) -> bool:
    """Tells whether two spaces search the same keys; under a condition there may be others."""
    return {name for name in stored if "|" not in name} == {name for name in requested if "|" not in name}


def difference(record: StudyRecord, space: Space) -> list[str]:
    """Names the ranges of a study that a new space changes."""
    stored, requested = dict((record.identity or {}).get(SPACE, {})), ranges(space)
    changed = [name for name in {**stored, **requested} if stored.get(name) != requested.get(name)]
    noted = _written(record.space or ())  # an earlier version noted none
    before = {name: noted.get(name, range_) for name, range_ in stored.items()}
    after, none = _written(space), "not searched"
    return [f"{name}: was {before.get(name, none)}, is {after.get(name, none)}" for name in changed]


def _written(space: Space) -> dict[str, str]:
    return {dimension.name: range_of(dimension) for dimension in space}


def outside(trials: Iterable[FrozenTrial], space: Space) -> list[int]:
    """Lists the trials whose point does not lie in a space, waiting ones among them."""
    return [trial.number for trial in trials if not _lies_in(trial, space)]


def _lies_in(trial: FrozenTrial, space: Space) -> bool:
    """Tells whether each value lies in its range; of a point that was drawn, also whether it is whole."""
    named = {dimension.name: dimension for dimension in space}
    values: dict[str, Any] = trial.system_attrs.get("fixed_params", {}) | trial.params
    point = {named[name].key: value for name, value in values.items() if name in named}
    return (
        values.keys() <= named.keys()
        and all(contains(named[name].distribution, value) for name, value in values.items())
        and all(named[name].exists(point) for name in values)
        and (not trial.params or all(one.name in values for one in space if one.exists(point)))
    )


def as_seen(trials: Sequence[FrozenTrial], space: Space) -> list[FrozenTrial]:
    """Returns the trials as a sampler sees them, in their places: with the present ranges.

    Those outside are failed ones, of which it learns nothing.
    """
    return [_hidden(trial) if TrialRecord(trial).outside else _moved(trial, space) for trial in trials]


def hidden(trial: FrozenTrial) -> FrozenTrial:
    """Returns a trial outside of the space as one that failed, and any other as it is."""
    return _hidden(trial) if TrialRecord(trial).outside else trial


def _hidden(trial: FrozenTrial) -> FrozenTrial:
    seen = copy(trial)
    seen.state, seen.values = TrialState.FAIL, None
    seen.params, seen.distributions = {}, {}
    seen.intermediate_values, seen.system_attrs = {}, {}  # with the rungs of a pruner
    seen.user_attrs = {OUTSIDE: True}
    return seen


def _moved(trial: FrozenTrial, space: Space) -> FrozenTrial:
    present = distributions(space, trial.params)
    if present == trial.distributions:
        return trial
    seen = copy(trial)
    seen.distributions = present
    return seen
