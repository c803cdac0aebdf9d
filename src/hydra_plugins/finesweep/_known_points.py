"""Fits the known points of a sweep's file to a command that fixes keys, or searches other ranges."""

import sys
from collections.abc import Callable, Collection, Sequence
from typing import Any

from finesweep.config.study import SweepConfig
from finesweep.errors import ConfigError
from finesweep.io.terminal import show
from finesweep.study.space import Space, check_point, stored_point

Point = dict[str, Any]


def gives_points(overrides: Sequence[str]) -> bool:
    """Tells whether a command line has points of its own, which are taken as they are. overrides: Hydra's."""
    keys = (text.lstrip("+~").partition("=")[0] for text in overrides if "enqueue" in text)
    return any("hydra.sweeper.enqueue".startswith(key) for key in keys)


def fitted(
    config: SweepConfig, space: Space, named: Collection[str], shared: Callable[[str], Any]
) -> list[Point]:
    """Leaves out of the points what a command does not search, and points outside of it; says both.

    named: the keys of the command line, searched or not. shared: gives the value of a key that all trials
    share. A command that names none of the file's dimensions gets the points as they are.
    """
    conditions = {key for branch in config.conditional for key in branch.when}
    keys = conditions.union(config.params, *(branch.params for branch in config.conditional))
    if keys.isdisjoint(named):
        return config.enqueue
    gone = keys - {dimension.key for dimension in space}
    for key in sorted({key for point in config.enqueue for key in point if key in gone}):
        show(f"enqueue: this command does not search {key}; the known points leave it out", sys.stderr)
    kept: list[Point] = []
    for point in config.enqueue:
        rest = {key: value for key, value in point.items() if key not in gone}
        fixed = {key: shared(key) for key in conditions & gone & point.keys()}
        if problem := _other(point, fixed) or _problem(rest, space):
            show(f"enqueue: a known point does not fit this command: {problem}", sys.stderr)
        elif rest and rest not in kept:
            kept.append(rest)
    return kept


def _other(point: Point, fixed: Point) -> str | None:
    """Says where a point has another value than the command, for which other ranges hold."""
    others = (f"{key} is {value} here, and {point[key]} there" for key, value in fixed.items())
    return next((text for text, key in zip(others, fixed, strict=True) if point[key] != fixed[key]), None)


def _problem(point: Point, space: Space) -> str | None:
    try:
        check_point(stored_point(point), space, where="")
    except ConfigError as error:
        return str(error)
    return None
