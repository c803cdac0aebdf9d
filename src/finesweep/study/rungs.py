"""Decides which trainings pause at a rung, and which paused ones go on: asynchronous successive halving.

A rung is a share of a trial's own training. At each rung a training goes on if it is among the best of all
that were judged there; else it pauses, with its checkpoint. It is promoted as soon as it belongs to the best,
which it may when others turn out worse. Nobody waits for a rung to fill up.

These functions know neither Optuna nor files, so a replay of recorded curves takes the same decisions:

    rungs = Rungs(maximize=True)
    point = Point(7, rungs.judged(curve))      # after an evaluation that reached a rung
    rungs.goes_on(point, [point, *others])     # False: it pauses
    rungs.to_promote(points)                   # before a new point is started: a paused one to go on with

Source: Li et al., A System for Massively Parallel Hyperparameter Tuning (2020), in its form with promotions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

Curve = Sequence[tuple[float, float]]  # the share of the training, up to 1.0, and the value measured there
EXACT = 1e-9  # shares are quotients of steps
LEAST = 1  # per cent of a training: what is less was probably meant as a share of it
OPTIONS = "min_resource", "reduction_factor", "max_paused"  # what a person may set
NEAR = 0.02  # an evaluation comes after a whole step: one that is meant for a rung may lie so far before it


@dataclass(frozen=True)
class Point:
    """One point of a study with all of its tries: what a pause, a promotion or a death divides counts once.

    Points that failed for good, and those whose value was known before, are left out by the caller.
    """

    number: int  # in the order in which points are started; of equals, the earlier one is promoted first
    losses: dict[int, float] = field(default_factory=dict)  # as `Rungs.judged` returns them
    is_paused: bool = False  # it waits, and its checkpoint is there

    @property
    def rung(self) -> int | None:
        """The index of the last rung where it was judged."""
        return max(self.losses, default=None)


@dataclass(frozen=True)
class Rungs:
    """The rungs of a study, and its decisions. One in `reduction_factor` points goes on, and its equals."""

    maximize: bool
    min_resource: float = 25.0  # the first rung, in per cent of a training
    reduction_factor: float = 2.0  # each further rung is so many times as far
    max_paused: int = 16  # trials that wait with a checkpoint; the worst ones beyond them are given up

    def __post_init__(self) -> None:
        """Raises: ValueError."""
        for name in OPTIONS:
            if isinstance(value := getattr(self, name), bool) or not isinstance(value, (int, float)):
                raise ValueError(f"{name} is {value!r}, not a number")
        if not LEAST <= self.min_resource < 100:
            raise ValueError(f"min_resource is {self.min_resource}, not {LEAST} to below 100 per cent")
        if not 1.1 <= self.reduction_factor <= 100:
            raise ValueError(f"reduction_factor is {self.reduction_factor}, not 1.1 to 100")
        if not 1 <= self.max_paused < float("inf") or self.max_paused != int(self.max_paused):
            raise ValueError(f"max_paused is {self.max_paused}, not a whole number, 1 or more")

    @cached_property
    def shares(self) -> list[float]:
        """The rungs below the end of a training, as shares of it."""
        shares, share = [], self.min_resource / 100
        while share < 1.0 - EXACT:
            shares.append(share)
            share *= self.reduction_factor
        return shares

    @property
    def _reached(self) -> list[float]:
        """The shares from which on an evaluation stands for each rung."""
        return [rung - min(NEAR, rung / 4) - EXACT for rung in self.shares]

    def judged(self, curve: Curve) -> dict[int, float]:
        """Returns the loss, of which less is better, at each rung where a training was judged, by its index.

        It is that of the best evaluation so far, by which a trial is valued in the end. Between two
        evaluations the value lies on the line between them, for others were measured elsewhere. A training
        that passes several rungs between two evaluations is judged at the last of them alone.
        """
        losses: dict[int, float] = {}
        best, before = float("inf"), 0.0
        earlier: float | None = None
        for share, value in curve:
            loss = -value if self.maximize else value
            passed = [index for index, reached in enumerate(self._reached) if before < reached <= share]
            if passed and (earlier is not None or share < 1.0):  # else it is not known what it was there
                part = min(1.0, (self.shares[passed[-1]] - before) / (share - before))
                there = loss if earlier is None else earlier + (loss - earlier) * part
                losses[passed[-1]] = min(best, there)
            best, before, earlier = min(best, loss), share, loss
        return losses

    def loss(self, curve: Curve) -> float:
        """Returns the loss of a training's best evaluation so far; infinity if there is none."""
        losses = (-value if self.maximize else value for _, value in curve)
        return min(losses, default=float("inf"))

    def goes_on(self, point: Point, points: Sequence[Point]) -> bool:
        """Tells whether a training at its last rung is among the best of that rung.

        points: all of the study, this one included.
        """
        return point.rung is None or point in self._best_of(point.rung, points)

    def to_promote(self, points: Sequence[Point], anyway: bool = False) -> Point | None:
        """Returns the paused point that deserves to go on: of the last rung that has one, its best.

        anyway: whether the furthest one goes on if none deserves it.
        """
        for rung in reversed(range(len(self.shares))):
            for point in self._best_of(rung, points):
                if point.is_paused and point.rung == rung:
                    return point
        return self.furthest(points) if anyway else None

    def furthest(self, points: Sequence[Point]) -> Point | None:
        """Returns the best of the points that wait at the last rung where any does."""
        return next(reversed(_worst_first(points)), None)

    def surplus(self, points: Sequence[Point]) -> list[Point]:
        """Returns the paused points that are too many: the worst ones of the first rungs."""
        waiting = _worst_first(points)
        return waiting[: max(0, len(waiting) - int(self.max_paused))]

    def _best_of(self, rung: int, points: Sequence[Point]) -> list[Point]:
        """Returns the points at a rung that go on, best first: its best share, and all that equal its last.

        Equal losses, those of models at chance for example, say nothing about what becomes of a training.
        """
        there = [point for point in points if rung in point.losses]
        there.sort(key=lambda point: (point.losses[rung], point.number))
        best = there[: int(len(there) / self.reduction_factor)]
        return [point for point in there if best and point.losses[rung] <= best[-1].losses[rung]]


def _worst_first(points: Sequence[Point]) -> list[Point]:
    """Returns the points that wait: those of the first rung first, and of each rung its worst first."""
    waiting = [(rung, point) for point in points if point.is_paused and (rung := point.rung) is not None]
    waiting.sort(key=lambda one: (one[0], -one[1].losses[one[0]], -one[1].number))
    return [point for _, point in waiting]
