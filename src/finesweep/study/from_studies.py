"""Chooses the points that a study starts from: the best ones of earlier studies, inside of its own space.

They are at most a quarter of its trials: where the earlier studies mislead, the search has the other three.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from finesweep.study.space import Dimension, Space, own_value

PART = 4  # one of so many trials tries what is known
BEST = 4  # of so many trials of an earlier study, one counts as a find
NEAR = 0.1  # of a dimension's range: points that differ by less in all dimensions say the same


@dataclass(frozen=True)
class Known:
    """A finished trial of an earlier study."""

    study: str
    trial: int
    point: dict[str, Any]  # by Hydra's keys


@dataclass(frozen=True)
class Start:
    """A point to try first: a known one, as far as this study's space has it."""

    known: Known
    point: dict[str, Any]  # by Hydra's keys; the sampler chooses what is missing
    moved: list[str] = field(default_factory=list)  # keys whose value lay outside: the nearest one is taken
    missing: list[str] = field(default_factory=list)  # keys that the sampler chooses


def choose(sources: Sequence[Sequence[Known]], space: Space, n_trials: int) -> list[Start]:
    """Chooses distinct points of the best quarter of each source, in turn from each of them.

    sources: the trials of each, best first. n_trials: of this study.
    """
    chosen: list[Start] = []
    finds = [source[: math.ceil(len(source) / BEST)] for source in sources]
    for known in filter(None, chain.from_iterable(zip_longest(*finds))):
        start = _fitted(known, space)
        if start.point and all(_differ(start.point, other.point, space) for other in chosen):
            chosen.append(start)
        if len(chosen) == max(1, n_trials // PART):
            break
    return chosen


def _fitted(known: Known, space: Space) -> Start:
    """Takes over what the space has: numbers outside of a range move to its end."""
    start = Start(known, {})
    for dimension in _existing(space, start.point):
        key = dimension.key
        nearest = _nearest(dimension.distribution, known.point[key]) if key in known.point else []
        if not nearest:
            start.missing.append(key)
            continue
        start.point[key] = nearest[0]
        if nearest != [known.point[key]]:
            start.moved.append(key)
    return start


def _existing(space: Space, point: dict[str, Any]) -> Iterator[Dimension]:
    """Yields the dimensions that exist at a point, which may grow meanwhile."""
    return (dimension for dimension in space if dimension.exists(point))


def _nearest(distribution: BaseDistribution, value: Any) -> list[Any]:
    """Returns the nearest value of a dimension; none for a choice that it lacks, and for no number."""
    if isinstance(distribution, CategoricalDistribution):
        return own_value(distribution, value)
    assert isinstance(distribution, (IntDistribution, FloatDistribution))
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return []
    inside = min(max(value, distribution.low), distribution.high)
    if distribution.step:
        steps = round((inside - distribution.low) / distribution.step)
        inside = min(distribution.low + steps * distribution.step, distribution.high)
    return [int(inside) if isinstance(distribution, IntDistribution) else float(inside)]


def _differ(one: dict[str, Any], other: dict[str, Any], space: Space) -> bool:
    if one.keys() != other.keys():
        return True
    return any(
        _distance(dimension.distribution, one[dimension.key], other[dimension.key]) >= NEAR
        for dimension in _existing(space, one)
        if dimension.key in one
    )


def _distance(distribution: BaseDistribution, one: Any, other: Any) -> float:
    """Returns the distance of two values as a share of the range, on its scale; 1 between two choices."""
    if isinstance(distribution, CategoricalDistribution):
        return float(one != other)
    assert isinstance(distribution, (IntDistribution, FloatDistribution))
    if distribution.high == distribution.low:
        return 0.0
    values = (one, other, distribution.low, distribution.high)
    first, second, low, high = map(math.log, values) if distribution.log else values
    return float(abs(first - second) / (high - low))
