"""The best-of-n curve, against its definition and against values that can be counted."""

from itertools import product

import numpy as np
import pytest

from finesweep.study.best_of_n import best_of_n

VALUES = [0.3, 0.9, 0.5]


@pytest.mark.parametrize(("maximize", "best"), [(True, max), (False, min)])
def test_the_curve_is_the_mean_over_all_draws(maximize: bool, best: type) -> None:
    curve = best_of_n(VALUES, maximize)
    assert list(curve.n) == [1, 2, 3]
    for n, mean in zip(curve.n, curve.mean, strict=True):
        assert mean == pytest.approx(np.mean([best(draw) for draw in product(VALUES, repeat=int(n))]))


def test_the_interval_holds_the_curve_and_is_the_same_each_time() -> None:
    values = list(np.random.default_rng(1).uniform(0, 1, 200))
    first, second = best_of_n(values, True), best_of_n(values, True)
    assert (first.low <= first.mean).all() and (first.mean <= first.high).all()
    assert (first.low == second.low).all() and (first.high == second.high).all()
    assert first.n[0] == 1 and first.n[-1] == 200 and len(first.n) <= 40


def test_the_interval_covers_what_was_drawn_from() -> None:
    """Of uniform draws the expected best of 5 is 5/6; 95 of 100 intervals should hold it."""
    draws = np.random.default_rng(2).uniform(0, 1, (100, 60))
    held = 0
    for values in draws:
        curve = best_of_n(list(values), True)
        at = int(np.searchsorted(curve.n, 5))
        held += bool(curve.low[at] <= 5 / 6 <= curve.high[at])
    assert held >= 88


def test_one_trial_is_a_curve_of_one_point() -> None:
    curve = best_of_n([0.4], False)
    assert (list(curve.n), list(curve.mean), list(curve.low), list(curve.high)) == ([1], [0.4], [0.4], [0.4])
