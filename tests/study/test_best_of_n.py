"""The best-of-n curve, against its definition and against values that can be counted."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest

from finesweep.study.best_of_n import best_of_n, expected_best

VALUES = [0.3, 0.9, 0.5, 0.5, 0.1]


@pytest.mark.parametrize(("maximize", "best"), [(True, max), (False, min)])
def test_the_curve_is_the_mean_over_all_draws(
    maximize: bool, best: Callable[[tuple[float, ...]], float]
) -> None:
    curve = best_of_n(VALUES, maximize)
    assert list(curve.n) == [1, 2, 3, 5]
    for place, n in enumerate(curve.n):
        drawn = [best(draw) for draw in combinations(VALUES, int(n))]
        assert curve.mean[place] == pytest.approx(np.mean(drawn))
        assert (curve.low[place], curve.high[place]) == (min(drawn), max(drawn))
    assert curve.mean[-1] == curve.low[-1] == curve.high[-1] == best(tuple(VALUES))


@pytest.mark.parametrize("maximize", [True, False])
def test_the_range_holds_95_of_100_draws(maximize: bool) -> None:
    generator = np.random.default_rng(1)
    values = generator.normal(size=200)
    curve = best_of_n(list(values), maximize)
    place = int(np.searchsorted(curve.n, 10))
    drawn = np.array([generator.choice(values, curve.n[place], replace=False) for _ in range(4000)])
    best = drawn.max(axis=1) if maximize else drawn.min(axis=1)
    below, above = best < curve.low[place], best > curve.high[place]
    assert np.mean(below) < 0.035 and np.mean(above) < 0.035
    assert np.mean((curve.low[place] < best) & (best < curve.high[place])) < 0.96  # the ends are needed
    half = curve.n <= 100  # beyond, nearly all draws have the very best value, and the mean lies outside
    assert (curve.low <= curve.mean)[half].all() and (curve.mean <= curve.high)[half].all()


@pytest.mark.parametrize("n", [5, 20])
def test_it_expects_what_new_trials_give_on_average(n: int) -> None:
    """Of uniform draws the expected best of n is n/(n+1), also where there are no more than n trials."""
    draws = np.random.default_rng(2).uniform(0, 1, (2000, 20))
    expected = [expected_best(list(values), True, [n])[0] for values in draws]
    assert np.mean(expected) == pytest.approx(n / (n + 1), abs=3 * np.std(expected) / 2000**0.5)


def test_a_curve_of_thousands_of_trials_is_exact_at_its_ends() -> None:
    values = list(np.random.default_rng(3).normal(size=5000))
    curve = best_of_n(values, True)
    assert len(curve.n) <= 40 and (curve.n[0], curve.n[-1]) == (1, 5000)
    assert curve.mean[0] == pytest.approx(np.mean(values)) and curve.mean[-1] == pytest.approx(max(values))
    assert (np.diff(curve.mean) >= 0).all()


def test_one_trial_is_a_curve_of_one_point() -> None:
    curve = best_of_n([0.4], False)
    assert (list(curve.n), list(curve.mean), list(curve.low), list(curve.high)) == ([1], [0.4], [0.4], [0.4])
