"""Trains a run again with new seeds, to show how much its result owes to its own seed."""

import math
import statistics
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

from finesweep.config.run import Direction, RunConfig
from finesweep.errors import RunError
from finesweep.provenance.fields import Change
from finesweep.reproduce.recorded_run import RecordedRun
from finesweep.reproduce.rerun import rerun
from finesweep.tags import Kind
from finesweep.tasks import direction_of, task_of

CONFIDENCE = 0.95
ROUNDING = 1e-9  # of the mean of equal values


@dataclass(frozen=True)
class SeedResult:
    seed: int
    run_id: str
    value: float | None  # None: the training diverged


@dataclass(frozen=True)
class SeedSpread:
    """`finesweep reproduce --seeds N --json`; fields may be added, these stay."""

    run_id: str
    metric: str
    value: float  # of the run itself
    seeds: list[SeedResult]
    mean: float | None  # of those that did not diverge
    std: float | None  # of the sample; None for a single seed
    interval: tuple[float, float] | None  # in which one more run would lie, 19 times of 20
    luck: bool | None  # whether the run's own value lies outside; None for a single seed
    better: int  # of the new seeds, how many came out better than the run itself
    changes: list[Change]


def train_seeds(
    recorded: RecordedRun, config: RunConfig, overrides: list[str], count: int, changes: list[Change]
) -> SeedSpread:
    """Trains `count` runs, with the seeds that follow the run's own. Raises: RunError for a pruned run."""
    if recorded.value is None:
        raise RunError(
            f"run {recorded.run_id}: it was pruned, and has no best value to compare new seeds with"
        )
    found = []
    for seed in range(config.seed + 1, config.seed + 1 + count):
        own = deepcopy(config)
        own.seed, own.predict = seed % 2**32, False
        now = rerun(recorded, own, [*overrides, f"seed={own.seed}"], kind=Kind.RESEED)
        found.append(SeedResult(own.seed, now.run_id, now.value))
    values = [one.value for one in found if one.value is not None]
    sign = 1 if direction_of(task_of(config.data)) is Direction.maximize else -1
    interval = prediction_interval(values)
    return SeedSpread(
        recorded.run_id,
        recorded.record.config["data"]["metric"],
        recorded.value,
        found,
        statistics.fmean(values) if values else None,
        statistics.stdev(values) if len(values) > 1 else None,
        interval,
        None if interval is None else not interval[0] - ROUNDING <= recorded.value <= interval[1] + ROUNDING,
        sum(sign * value > sign * recorded.value for value in values),
        changes,
    )


def prediction_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Where one more value of the same normal distribution lies, with `CONFIDENCE`; None for fewer than two.

    Source: mean +- t * std * sqrt(1 + 1/n), Student's t with n - 1 degrees of freedom.
    """
    if len(values) < 2:
        return None
    from scipy import stats  # half a second, and seldom needed

    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    half = quantile * statistics.stdev(values) * math.sqrt(1 + 1 / len(values))
    mean = statistics.fmean(values)
    return mean - half, mean + half
