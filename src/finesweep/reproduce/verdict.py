"""Judges whether a reproduction came out the same as the recorded run."""

from dataclasses import asdict, dataclass
from typing import Any

from finesweep.provenance.differences import Change, cause
from finesweep.reproduce.recorded_run import RecordedRun

EXACT, WITHIN_TOLERANCE, DIFFERENT = "EXACT", "WITHIN_TOLERANCE", "DIFFERENT"
# Other threads or instruction sets moved losses and scores by up to 0.013 (10 comparisons, 1 to 5 epochs of
# the demo task, RTE and MRPC); another seed moved some score by 0.13 to 0.64.
TOLERANCE = 0.02
UNBOUNDED = "grad_norm"  # of one batch: it moved by 0.34 where no score moved at all
ONCE = "best_value"  # logged at the step of the best evaluation, which may have moved


@dataclass(frozen=True)
class MetricRow:
    """One metric at one evaluation; `step` is None for what is logged once."""

    name: str
    step: int | None
    then: float | None
    now: float | None

    def is_within(self, tolerance: float) -> bool:
        """Whether the values differ by at most `tolerance`: absolute below 1, relative above."""
        if self.name == UNBOUNDED:
            return True
        if self.then is None or self.now is None:
            return False
        return abs(self.now - self.then) <= tolerance * max(1.0, abs(self.then))


@dataclass(frozen=True)
class Verdict:
    """`finesweep reproduce --json`; fields may be added, these stay."""

    verdict: str
    run_id: str
    reproduction_run_id: str
    metrics: list[MetricRow]
    changes: list[Change]
    weights: dict[str, str | None]  # SHA-256, then and now; None of a pruned run
    predictions: dict[str, dict[str, str | None]]  # of each split or file, SHA-256 then and now
    tolerance: float
    cause: str | None  # None if EXACT
    error: str | None = None  # of a training that diverged

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def judge(then: RecordedRun, now: RecordedRun, changes: list[Change], tolerance: float) -> Verdict:
    rows = metric_rows(then, now)
    weights = {"then": _weights(then), "now": _weights(now)}
    predictions = _predictions(then, now)
    same = weights["then"] == weights["now"] and all(p["then"] == p["now"] for p in predictions.values())
    if same and now.error is None and all(row.then == row.now for row in rows):
        verdict = EXACT
    elif now.error is None and all(row.is_within(tolerance) for row in rows):
        verdict = WITHIN_TOLERANCE
    else:
        verdict = DIFFERENT
    why = None if verdict == EXACT else cause(changes)
    ids = then.run_id, now.run_id
    return Verdict(verdict, *ids, rows, changes, weights, predictions, tolerance, why, now.error)


def metric_rows(then: RecordedRun, now: RecordedRun) -> list[MetricRow]:
    """Every metric that either run logged, at each step, in the order of the training."""
    one, other = _comparable(then), _comparable(now)
    keys = sorted({**one, **other}, key=lambda key: (key[1] is None, key[1] or 0, key[0]))
    return [MetricRow(name, step, one.get((name, step)), other.get((name, step))) for name, step in keys]


def _comparable(recorded: RecordedRun) -> dict[tuple[str, int | None], float]:
    return {(name, None if name == ONCE else step): value for (name, step), value in recorded.history.items()}


def _weights(recorded: RecordedRun) -> str | None:
    found = recorded.record.results.get("weights_sha256")
    return str(found) if found else None


def _predictions(then: RecordedRun, now: RecordedRun) -> dict[str, dict[str, str | None]]:
    """Of what both have: one run was begun by an older finesweep, the other was told not to predict."""
    one, other = (recorded.record.results.get("predictions", {}) for recorded in (then, now))
    return {
        name: {"then": one[name], "now": other.get(name)}
        for name in sorted(one)
        if one[name] and name in other
    }
