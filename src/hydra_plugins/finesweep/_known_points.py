"""Fits the known points of a sweep's file to a command that fixes keys, or searches other ranges."""

import sys
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from finesweep.errors import ConfigError
from finesweep.io.terminal import show
from finesweep.study.space import Space, check_point, stored_point

Point = dict[str, Any]


def fitted(points: Sequence[Point], space: Space, named: Collection[str]) -> list[Point]:
    """Leaves out of the points what the command line fixes, and points outside of its ranges; says both.

    named: the keys of the command line, searched or not. What does not fit the file's own ranges stays, and
    is refused later.
    """
    fixed = {*named} - {dimension.key for dimension in space}
    for key in sorted({key for point in points for key in point if key in fixed}):
        show(f"enqueue: this command fixes {key}, which the sweep's known points leave out", sys.stderr)
    rests = [{key: value for key, value in point.items() if key not in fixed} for point in points]
    kept: list[Point] = []
    for point in _inside(filter(None, rests), space, named):
        if point not in kept:
            kept.append(point)
    return kept


def _inside(points: Iterator[Point], space: Space, named: Collection[str]) -> Iterator[Point]:
    for point in points:
        own = {key: value for key, value in point.items() if key not in named}
        problem = _problem(point, space)
        if problem is None or _problem(own, space) is not None:
            yield point
        else:
            show(f"enqueue: a known point lies outside of this command's ranges: {problem}", sys.stderr)


def _problem(point: Point, space: Space) -> str | None:
    try:
        check_point(stored_point(point), space, where="")
    except ConfigError as error:
        return str(error)
    return None
