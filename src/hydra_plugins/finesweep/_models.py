"""Composes the configs of all models that a search space contains, so that each is checked before a trial."""

from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig

from finesweep.config.parse import parse_config
from finesweep.config.run import RunConfig
from finesweep.study.grammar import ends
from finesweep.study.space import Dimension, Space

GROUPS, SIZES = ("model", "peft"), "model.architecture"


def model_configs(
    space: Space, fixed: list[str], compose: Callable[[list[str]], DictConfig]
) -> list[RunConfig]:
    """Composes one config for each combination of the searched keys of the model and its adapters.

    Of numbers, only the highest is taken: the longest rows, and the most layers that are frozen. Sizes must
    fit each other, so of them both ends of a range and all choices are.
    Raises: ConfigError for a combination that no run can have.
    """
    of_model = [d for d in space if d.key.partition(".")[0] in GROUPS]
    points: list[dict[str, Any]] = [{}]
    for dimension in of_model:
        points = [longer for point in points for longer in _with_values(point, dimension)]
    return [
        parse_config(compose([*fixed, *(d.override(point[d.key]) for d in of_model if _exists(d, point))]))
        for point in points
    ]


def _exists(dimension: Dimension, point: dict[str, Any]) -> bool:
    """Whether a point has the dimension, whatever the keys are that the point lacks."""
    return all(point.get(key, value) == value for key, value in dimension.when.items())


def _with_values(point: dict[str, Any], dimension: Dimension) -> list[dict[str, Any]]:
    if not _exists(dimension, point):
        return [point]
    values = ends(dimension.distribution)
    is_size = dimension.key.startswith(f"{SIZES}.")
    if not is_size and all(
        isinstance(value, (int, float)) and not isinstance(value, bool) for value in values
    ):
        values = [max(values)]
    return [point | {dimension.key: value} for value in values]
