"""Judges whether a reproduction came out the same as the recorded run."""

from dataclasses import asdict, dataclass
from typing import Any

from finesweep.provenance.differences import cause
from finesweep.provenance.fields import Change
from finesweep.reproduce.recorded_run import RecordedRun

EXACT, WITHIN_TOLERANCE, DIFFERENT = "EXACT", "WITHIN_TOLERANCE", "DIFFERENT"
# Other threads or instruction sets moved losses and scores by up to 0.013 (10 comparisons, 1 to 5 epochs of
# the demo task, RTE and MRPC); another seed moved some score by 0.13 to 0.64.
TOLERANCE = 0.02
UNBOUNDED = "grad_norm"  # the gradient norm of a single batch moved by 0.34 where no score moved at all
ONCE = "best_value"  # it is logged once, at the step of the best evaluation, which may be another one now


@dataclass(frozen=True)
class MetricRow:
    """The values of one metric at one step, then and now. `step` is None for the metric `ONCE`."""

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
    """The document of `finesweep reproduce --json`. Fields may be added, but none removed."""

    verdict: str
    run_id: str
    reproduction_run_id: str
    metrics: list[MetricRow]
    changes: list[Change]
    weights: dict[str, str | None]  # SHA-256 `then` and `now`; None for a pruned run
    predictions: dict[str, dict[str, str | None]]  # SHA-256 `then` and `now`, by split or file
    tolerance: float
    cause: str | None  # None if EXACT
    error: str | None = None  # the error of a training that diverged

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def judge(then: RecordedRun, now: RecordedRun, changes: list[Change], tolerance: float) -> Verdict:
    """Compares metrics, weights and predictions of two runs; `changes` are the possible causes."""
    rows = metric_rows(then, now)
    weights = {"then": then.record.results.weights_sha256, "now": now.record.results.weights_sha256}
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
    """Pairs the values of every metric that either run logged at a step, in the order of the steps."""
    values_then, values_now = _comparable(then), _comparable(now)
    keys = sorted({**values_then, **values_now}, key=lambda key: (key[1] is None, key[1] or 0, key[0]))
    return [MetricRow(*key, values_then.get(key), values_now.get(key)) for key in keys]


def _comparable(recorded: RecordedRun) -> dict[tuple[str, int | None], float]:
    return {(name, None if name == ONCE else step): value for (name, step), value in recorded.history.items()}


def _predictions(then: RecordedRun, now: RecordedRun) -> dict[str, dict[str, str | None]]:
    """Pairs the hashes of predictions that both runs have.

    One run may have been told not to predict. A hash is empty if an older finesweep began the training.
    """
    hashes_then, hashes_now = (run.record.results.predictions or {} for run in (then, now))
    shared = [name for name in sorted(hashes_then) if hashes_then[name] and name in hashes_now]
    return {name: {"then": hashes_then[name], "now": hashes_now[name]} for name in shared}
