"""Tells which differences between studies are beyond noise."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from finesweep.report.facts import Facts
from finesweep.study.confirm import NOISE

METHOD = (
    f"Beyond noise: Welch's t-test on the values of the winners' new seeds, two-sided, p below {NOISE:g} "
    "after Holm's correction for the number of pairs. The values that the winners were chosen for do not "
    "count, because they are the best of many. A winner has the best mean of its study's confirmed trials, "
    "so this mean is a little too good, as well. Seeds come with hydra.sweeper.study.confirm."
)


@dataclass(frozen=True)
class Difference:
    """The difference between two studies, and what is known of it."""

    first: str
    second: str
    verdict: str
    lead: float | None = None  # of the first's mean over the second's
    p: float | None = None  # corrected


def differences(studies: Sequence[Facts]) -> list[Difference]:
    """Compares every pair of studies."""
    found = [_difference(*pair) for pair in combinations(studies, 2)]
    corrected = iter(_holm([one.p for one in found if one.p is not None]))
    return [one if one.p is None else _judged(one, next(corrected)) for one in found]


def _difference(first: Facts, second: Facts) -> Difference:
    names = first.name, second.name
    if reason := _incomparable(first, second):
        return Difference(*names, f"not comparable: {reason}")
    one, other = (
        list(facts.confirmed[0].values.values()) if facts.confirmed else [] for facts in (first, second)
    )
    lead = statistics.fmean(one) - statistics.fmean(other) if one and other else None
    for name, values in zip(names, (one, other), strict=True):
        if len(values) < 2:
            few = "no seeds" if not values else "one seed"
            return Difference(*names, f"unknown: {few} of {name}", lead)
    if len(set(one)) == len(set(other)) == 1:
        return Difference(*names, "unknown: no spread over the seeds, which the test needs", lead)
    from scipy import stats

    return Difference(*names, "", lead, float(stats.ttest_ind(one, other, equal_var=False).pvalue))


def _incomparable(first: Facts, second: Facts) -> str | None:
    if first.objectives[0] != second.objectives[0]:
        return f"{first.objectives[0]} against {second.objectives[0]}"
    if first.maximizes() != second.maximizes():
        return "one maximizes, the other minimizes"
    if first.identity("data.eval content") != second.identity("data.eval content"):
        return "other evaluation rows"
    return None


def _holm(p_values: Sequence[float]) -> list[float]:
    """Corrects p-values for their number by Holm's method (1979)."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected, least = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = least
    return corrected


def _judged(one: Difference, p: float) -> Difference:
    verdict = "beyond noise" if p < NOISE else "within noise"
    return Difference(one.first, one.second, verdict, one.lead, p)
