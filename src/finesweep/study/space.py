"""A search space: dimensions in order, each perhaps with a condition on earlier ones.

A dimension with a condition exists only where other keys have the given values. Optuna wants one name for
each distribution, so a conditional one is called ``key|other=value`` there.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from finesweep.errors import ConfigError, did_you_mean
from finesweep.study.encode import encode_stored, stored

MAX_POINTS = 100_000  # of a grid, whose points are all enqueued


@dataclass(frozen=True)
class Dimension:
    name: str  # Optuna's, unique
    key: str  # Hydra's
    distribution: BaseDistribution
    when: dict[str, Any] = field(default_factory=dict)  # keys of earlier dimensions, and their values
    override_key: str = ""  # the key with `+` and `@package` as it was given; empty: the plain key

    def override(self, value: Any) -> str:
        """Writes the override that a trial with this value composes."""
        return f"{self.override_key or self.key}={encode_stored(value)}"

    def exists(self, point: dict[str, Any]) -> bool:
        return all(key in point and point[key] == value for key, value in self.when.items())

    def __str__(self) -> str:
        condition = ", ".join(f"{key}={value}" for key, value in self.when.items())
        return str(self.distribution) + (f" when {condition}" if condition else "")


Space = tuple[Dimension, ...]  # a condition stands after the dimension that it names


def params_of(trial: optuna.trial.FrozenTrial | optuna.Trial) -> dict[str, Any]:
    """Gives the parameters of a trial by Hydra's keys."""
    return {name.partition("|")[0]: value for name, value in trial.params.items()}


def overrides_of(trial: optuna.trial.FrozenTrial | optuna.Trial, space: Space) -> list[str]:
    """Writes the parameters of a trial as Hydra overrides."""
    dimensions = {dimension.name: dimension for dimension in space}
    return [dimensions[name].override(value) for name, value in trial.params.items()]


def suggest(trial: optuna.Trial, space: Space) -> None:
    """Lets the sampler choose a value for each dimension that exists given the earlier ones."""
    for dimension in space:
        if dimension.exists(params_of(trial)):
            _suggest(trial, dimension.name, dimension.distribution)


def _suggest(trial: optuna.Trial, name: str, dimension: BaseDistribution) -> None:
    if isinstance(dimension, CategoricalDistribution):
        trial.suggest_categorical(name, dimension.choices)
    elif isinstance(dimension, IntDistribution):
        trial.suggest_int(name, dimension.low, dimension.high, step=dimension.step, log=dimension.log)
    else:
        assert isinstance(dimension, FloatDistribution)
        trial.suggest_float(name, dimension.low, dimension.high, step=dimension.step, log=dimension.log)


def distributions(space: Space, params: dict[str, Any]) -> dict[str, BaseDistribution]:
    """Gives the distribution of each of a trial's parameters, by Optuna's names."""
    return {dimension.name: dimension.distribution for dimension in space if dimension.name in params}


def named(point: dict[str, Any], space: Space) -> dict[str, Any]:
    """Renames a point from Hydra's keys to Optuna's names."""
    return {d.name: point[d.key] for d in space if d.key in point and d.exists(point)}


def grid(space: Space) -> list[dict[str, Any]]:
    """Lists every point, in order, by Hydra's keys.

    Raises: ConfigError for an interval, which has no grid, and for more than MAX_POINTS.
    """
    axes = {dimension.name: _axis(dimension) for dimension in space}
    points = list(islice(walk(space, axes, {}), MAX_POINTS + 1))
    if len(points) > MAX_POINTS:
        raise ConfigError(
            f"hydra.sweeper.study.sampler: the grid of this space has more than {MAX_POINTS:,} points; "
            "legal: fewer or shorter dimensions, or another sampler"
        )
    return points


def walk(space: Space, axes: Mapping[str, Iterable[Any]], point: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields the points that extend `point`, by Hydra's keys. axes: the values of each dimension, by name."""
    if not space:
        yield point
    elif not space[0].exists(point):
        yield from walk(space[1:], axes, point)
    else:
        for value in axes[space[0].name]:
            yield from walk(space[1:], axes, point | {space[0].key: value})


def _axis(dimension: Dimension) -> Iterable[Any]:
    values = dimension.distribution
    if isinstance(values, CategoricalDistribution):
        return list(values.choices)
    if isinstance(values, IntDistribution) and not values.log:
        return range(values.low, values.high + 1, values.step)
    if isinstance(values, FloatDistribution) and values.step is not None:
        steps = min(round((values.high - values.low) / values.step), MAX_POINTS)
        return [values.low + index * values.step for index in range(steps + 1)]
    raise ConfigError(
        f"{dimension.key}: an interval has no grid; legal for the grid sampler: choice(...), range(...)"
    )


def stored_point(point: dict[str, Any]) -> dict[str, Any]:
    """Returns a point of a sweep's file with its values as Optuna stores them."""
    return {key: stored(value) for key, value in point.items()}


def check_point(
    point: dict[str, Any], space: Space, where: str = "hydra.sweeper.enqueue: "
) -> dict[str, Any]:
    """Returns a point with the space's own values.

    where: stands before the key. Raises: ConfigError for a point outside of the space.
    """
    own: dict[str, Any] = {}
    keys = dict.fromkeys(dimension.key for dimension in space)
    for key, value in point.items():
        if key not in keys:
            raise ConfigError(f"{where}{key} is not swept; {did_you_mean(key, keys)}legal: {', '.join(keys)}")
        here = [d for d in space if d.key == key and d.exists(point)]
        if not here:
            conditions = "; ".join(range_of(d) for d in space if d.key == key)
            raise ConfigError(f"{where}{key} does not exist at this point; legal: {conditions}")
        if not (found := own_value(here[0].distribution, value)):
            raise ConfigError.at(f"{where}{key}", value, range_of(here[0]))
        own[key] = found[0]
    return own


def range_of(dimension: Dimension) -> str:
    """Writes what is tried of a dimension for a person: `0.0001 to 0.01, on a log scale`."""
    conditions = ", ".join(f"{key}={value}" for key, value in dimension.when.items())
    return _values(dimension.distribution) + (f", where {conditions}" if conditions else "")


def _values(distribution: BaseDistribution) -> str:
    if isinstance(distribution, CategoricalDistribution):
        return ", ".join(map(encode_stored, distribution.choices))
    bounds = distribution._asdict()
    step = f", in steps of {bounds['step']}" if bounds["step"] not in (None, 1) else ""
    return f"{bounds['low']} to {bounds['high']}{', on a log scale' if bounds['log'] else ''}{step}"


def contains(dimension: BaseDistribution, value: Any) -> bool:
    """Tells whether a value lies in a dimension, on its steps."""
    return bool(own_value(dimension, value))


def own_value(dimension: BaseDistribution, value: Any) -> list[Any]:
    """Returns the dimension's own value that equals a given one, such as 8 for 8.0; else nothing."""
    if isinstance(dimension, CategoricalDistribution):
        is_truth = isinstance(value, bool)
        return [own for own in dimension.choices if own == value and isinstance(own, bool) == is_truth][:1]
    assert isinstance(dimension, (IntDistribution, FloatDistribution))
    if (
        not isinstance(value, (int, float))
        or isinstance(value, bool)
        or not dimension.low <= value <= dimension.high
    ):
        return []
    steps = (value - dimension.low) / dimension.step if dimension.step else 0.0
    if abs(steps - round(steps)) >= 1e-8:
        return []
    return [int(value) if isinstance(dimension, IntDistribution) else float(value)]
