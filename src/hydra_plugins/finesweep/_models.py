"""Composes the configs of all models that a search space contains, so that each is checked before a trial."""

from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig

from finesweep.config.parse import parse_config
from finesweep.config.run import RunConfig
from finesweep.study.grammar import as_overrides, ends
from finesweep.study.space import Dimension, Space

GROUP = "model"


def model_configs(
    space: Space, fixed: list[str], compose: Callable[[list[str]], DictConfig]
) -> list[RunConfig]:
    """Composes one config for each combination of the searched keys of the model.

    Of numbers, only the highest is taken: the longest rows, and the most layers that are frozen.
    Raises: ConfigError for a combination that no run can have.
    """
    points: list[dict[str, Any]] = [{}]
    for dimension in space:
        if dimension.key == GROUP or dimension.key.startswith(f"{GROUP}."):
            points = [longer for point in points for longer in _with_values(point, dimension)]
    return [parse_config(compose([*fixed, *as_overrides(point)])) for point in points]


def _with_values(point: dict[str, Any], dimension: Dimension) -> list[dict[str, Any]]:
    if any(key in point and point[key] != value for key, value in dimension.when.items()):
        return [point]  # the dimension does not exist there
    values = ends(dimension.distribution)
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        values = [max(values)]
    return [point | {dimension.key: value} for value in values]
