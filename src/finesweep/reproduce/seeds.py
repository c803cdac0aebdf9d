"""Trains a run again with new seeds, to show how much its result depends on the seed."""

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
BEYOND = 10_000  # is added to the run's seed: seeds that neither a search nor a confirmation has chosen by
ROUNDING = 1e-9  # a bound of the rounding error in the mean of equal values


@dataclass(frozen=True)
class SeedResult:
    seed: int
    run_id: str
    value: float | None  # None: the training diverged


@dataclass(frozen=True)
class SeedSpread:
    """The document of `finesweep reproduce --seeds N --json`. Fields may be added, but none removed."""

    run_id: str
    metric: str
    value: float  # of the run itself
    seeds: list[SeedResult]
    mean: float | None  # over the seeds that did not diverge
    std: float | None  # of the sample; None for a single seed
    interval: tuple[float, float] | None  # prediction interval of one more run; None for a single seed
    luck: bool | None  # whether the run's own value lies outside of the interval; None for a single seed
    better: int  # number of new seeds with a better value than the run itself
    changes: list[Change]  # what differs from the conditions of the run itself


def train_seeds(
    recorded: RecordedRun, config: RunConfig, overrides: list[str], count: int, changes: list[Change]
) -> SeedSpread:
    """Trains `count` runs with seeds that are new to the run's study. Raises: RunError for a pruned run."""
    if recorded.value is None:
        raise RunError(
            f"run {recorded.run_id}: it was pruned, and has no best value to compare new seeds with"
        )
    first = config.seed + BEYOND
    seeds = [_train_seed(recorded, config, overrides, seed) for seed in range(first, first + count)]
    return _spread(recorded, recorded.value, seeds, direction_of(task_of(config.data)), changes)


def _train_seed(recorded: RecordedRun, config: RunConfig, overrides: list[str], seed: int) -> SeedResult:
    reseeded = deepcopy(config)
    reseeded.seed, reseeded.predict = seed % 2**32, False
    now = rerun(recorded, reseeded, [*overrides, f"seed={reseeded.seed}"], kind=Kind.RESEED)
    return SeedResult(reseeded.seed, now.run_id, now.value)


def _spread(
    recorded: RecordedRun, own: float, seeds: list[SeedResult], direction: Direction, changes: list[Change]
) -> SeedSpread:
    values = [result.value for result in seeds if result.value is not None]
    sign = 1 if direction is Direction.maximize else -1
    interval = prediction_interval(values)
    return SeedSpread(
        run_id=recorded.run_id,
        metric=recorded.record.config["data"]["metric"],
        value=own,
        seeds=seeds,
        mean=statistics.fmean(values) if values else None,
        std=statistics.stdev(values) if len(values) > 1 else None,
        interval=interval,
        luck=None if interval is None else not interval[0] - ROUNDING <= own <= interval[1] + ROUNDING,
        better=sum(sign * value > sign * own for value in values),
        changes=changes,
    )


def prediction_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Returns where one more value of the same normal distribution lies with probability `CONFIDENCE`.

    Returns None for fewer than two values.
    Source: mean +- t * std * sqrt(1 + 1/n), Student's t with n - 1 degrees of freedom.
    """
    if len(values) < 2:
        return None
    from scipy import stats  # half a second, and seldom needed

    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    half = quantile * statistics.stdev(values) * math.sqrt(1 + 1 / len(values))
    mean = statistics.fmean(values)
    return mean - half, mean + half
