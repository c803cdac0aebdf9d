"""Intervals hold the true score as often as they say, and equal models are seldom called different."""

import math
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from finesweep.config.run import ProblemType
from finesweep.tasks import TYPES
from finesweep.tasks.classification import Classification
from finesweep.tasks.metrics import Judged, Labels, Metric
from finesweep.tasks.resampling import (
    _rows_of_labels,
    _share_reached,
    interval,
    noise,
    p_value,
    seconds,
    why_none,
)

ACCURACY = Classification.metrics["accuracy"]


def f1(judged: Judged) -> float:
    """F1 of label 1, faster than scikit-learn's on few rows."""
    both = np.count_nonzero(judged.reference & judged.predicted)
    return float(2 * both / max(1, judged.reference.sum() + judged.predicted.sum()))


F1 = Metric(f1)
Draw = Callable[[np.random.Generator, int], tuple[Judged, Judged]]


def of(reference: NDArray[np.int64], predicted: NDArray[np.int64]) -> Judged:
    return Judged(reference, predicted, predicted, ["0", "1"])


def two_equal_models(generator: np.random.Generator, rows: int) -> tuple[Judged, Judged]:
    """Labels of which 40% are 1, and two models that are right on 80% of them, often on the same ones."""
    labels = (generator.random(rows) < 0.4).astype(np.int64)
    hard = generator.random(rows) < 0.3
    wrong = [hard & (generator.random(rows) < 2 / 3) for _ in range(2)]
    first, second = (of(labels, np.where(one, 1 - labels, labels)) for one in wrong)
    return first, second


def true_f1() -> float:
    right, wrong = 0.4 * 0.8, 0.6 * 0.2  # of all rows: label 1 found; label 0 taken for 1
    return 2 * right / (0.4 + right + wrong)


@pytest.mark.parametrize(
    ("metric", "truth", "samples"), [(ACCURACY, 0.8, 1000), (F1, true_f1(), 300)], ids=["accuracy", "f1"]
)
def test_intervals_hold_the_true_score_in_95_of_100_cases(metric: Metric, truth: float, samples: int) -> None:
    """Of 1,000 (300) samples 93 to 97% of intervals would; the bounds leave room for chance: three sigma."""
    generator, held = np.random.default_rng(1), 0
    for _ in range(samples):
        found = interval(metric, two_equal_models(generator, 277)[0])
        assert found is not None
        held += found.low <= truth <= found.high
    room = 3 * (0.95 * 0.05 / samples) ** 0.5
    assert 0.95 - room <= held / samples <= 0.95 + room


@pytest.mark.parametrize(("metric", "samples"), [(ACCURACY, 400), (F1, 120)], ids=["accuracy", "f1"])
def test_equal_models_are_called_different_in_5_of_100_cases(metric: Metric, samples: int) -> None:
    generator, different = np.random.default_rng(2), 0
    for _ in range(samples):
        different += p_value(metric, *two_equal_models(generator, 277)) < 0.05
    assert different / samples <= 0.05 + 3 * (0.95 * 0.05 / samples) ** 0.5


@pytest.mark.parametrize("metric", [ACCURACY, F1], ids=["accuracy", "f1"])
def test_a_model_that_is_much_better_is_told_from_another(metric: Metric) -> None:
    generator = np.random.default_rng(3)
    labels = (generator.random(277) < 0.4).astype(np.int64)
    better, worse = (of(labels, np.where(generator.random(277) < e, 1 - labels, labels)) for e in (0.1, 0.3))
    assert p_value(metric, better, worse) < 0.01
    assert p_value(metric, better, better) == 1.0


def test_a_perfect_score_is_not_taken_for_certain() -> None:
    """Of 100 rows all of which are right, the true share may well be 0.97."""
    perfect = of(np.ones(100, np.int64), np.ones(100, np.int64))
    found, spread = interval(ACCURACY, perfect), noise(ACCURACY, perfect)
    assert found is not None and found.high == 1.0 and 0.95 < found.low < 0.97
    assert spread is not None and spread.std > 0.005 and spread.rows == 100
    assert interval(F1, perfect) is None and noise(F1, perfect) is None  # all resamples say the same: nothing


def test_the_same_rows_give_the_same_answer() -> None:
    first, second = two_equal_models(np.random.default_rng(4), 100)
    assert interval(F1, first) == interval(F1, first)
    assert p_value(F1, first, second) == p_value(F1, first, second)


def test_the_standard_error_is_that_of_a_share() -> None:
    judged = two_equal_models(np.random.default_rng(5), 1000)[0]
    share = float((judged.reference == judged.predicted).mean())
    spread = noise(ACCURACY, judged)
    assert spread is not None and spread.std == pytest.approx((share * (1 - share) / 1000) ** 0.5, rel=0.01)
    plain = Metric(ACCURACY.compute)
    spread = noise(plain, judged)
    assert spread is not None and spread.std == pytest.approx((share * (1 - share) / 1000) ** 0.5, rel=0.25)


def test_a_metric_that_is_a_share_of_right_rows_says_which_are_right() -> None:
    labels = {"classification": np.array([1, 1, 1, 0]), "multi_label_classification": np.eye(4, 3, dtype=int)}
    for kind, task in TYPES.items():
        for metric in task.metrics.values():
            if metric.right is not None:
                true = labels[kind.value]
                predicted = true.copy()
                predicted[0] = true[3]
                scores = np.ones((4, 11))  # of which all have their label on top but row 0, which has it last
                if true.ndim == 1:
                    scores[range(4), true], scores[0, true[0]] = 2.0, 0.0
                judged = Judged(true, predicted, scores, [str(label) for label in range(11)])
                assert metric.right(judged).mean() == metric.compute(judged) == 0.75


def test_right_rows_of_a_top_k_accuracy_are_scikit_learns() -> None:
    generator = np.random.default_rng(8)
    scores, names = generator.integers(0, 4, (300, 6)) / 4, [str(label) for label in range(6)]  # with ties
    labels = generator.integers(0, 6, 300)
    judged = Judged(labels, scores.argmax(axis=1), scores, names)
    for k in (2, 3, 5):
        metric = Classification.metrics[f"top_{k}_accuracy"]
        assert metric.right is not None and metric.right(judged).mean() == metric.compute(judged)


def rare(name: str, rows_of_it: int) -> tuple[Metric, Judged]:
    """100 rows of which the last few have label 2; the model is right on these, and on 80% of others."""
    labels = np.arange(100) % 2
    labels[100 - rows_of_it :] = 2
    predicted = np.where((np.arange(100) % 5 == 0) & (labels < 2), 1 - labels, labels)
    return Classification.metrics[name], Judged(labels, predicted, predicted, ["a", "b", "c"])


def test_draws_that_lack_a_label_score_the_metric_of_all_labels() -> None:
    metric, judged = rare("f1_macro", 1)
    without = replace(judged, reference=judged.reference[:99], predicted=judged.predicted[:99])
    draw = replace(without, labels=Labels(np.arange(3), np.arange(3)))
    assert metric.compute(draw) == pytest.approx(metric.compute(without) * 2 / 3)


@pytest.mark.parametrize(("rows_of_it", "is_known"), [(1, False), (4, False), (5, True)])
@pytest.mark.parametrize("name", ["balanced_accuracy", "f1_macro", "recall_macro"])
def test_a_mean_over_labels_has_an_interval_if_they_are_on_enough_rows(
    name: str, rows_of_it: int, is_known: bool
) -> None:
    metric, judged = rare(name, rows_of_it)
    found = interval(metric, judged)
    assert (found is not None) == is_known == (noise(metric, judged) is not None)
    if found is None:
        expected = "1 of 3 scored labels is on fewer than 5 rows: there is no interval"
        assert why_none(metric, judged) == expected
    else:
        assert found.low < metric.compute(judged) < found.high


def test_a_rare_label_among_many_takes_no_interval_away() -> None:
    labels = np.concatenate([np.repeat(np.arange(20), 10), [20]])
    predicted = np.where(np.arange(201) % 4 == 0, (labels + 1) % 20, labels)
    judged = Judged(labels, predicted, predicted, [str(label) for label in range(21)])
    assert interval(Classification.metrics["f1_macro"], judged) is not None


@pytest.mark.parametrize("positives", [3, 5])
def test_a_score_of_the_positive_label_needs_rows_of_it(positives: int) -> None:
    labels = (np.arange(277) < positives).astype(np.int64)
    scores = np.stack([1 - labels, labels], axis=1) * 0.8 + 0.1
    judged = Judged(labels, labels, scores, ["no", "yes"], positive=1)
    metric = Classification.metrics["average_precision"]
    if positives == 3:  # 5% of the draws have none, and would score 0 where the ranking is perfect
        assert why_none(metric, judged).startswith("1 of 1 scored labels is on fewer than 5 rows")
    else:
        assert why_none(metric, judged).startswith("nearly all resamples of the rows score the same")
    assert interval(metric, judged) is None and noise(metric, judged) is None


def test_many_labels_of_which_draws_lack_some_have_no_interval() -> None:
    """77 labels on 277 rows: each draw lacks many, scores them 0, and says less than the rows' own score."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 77, 277)
    predicted = np.where(generator.random(277) < 0.1, generator.integers(0, 77, 277), labels)
    judged = Judged(labels, predicted, predicted, [str(label) for label in range(77)])
    metric = Classification.metrics["f1_macro"]
    assert interval(metric, judged) is None and noise(metric, judged) is None
    assert "of 76 scored labels are on fewer than 5 rows" in why_none(metric, judged)
    biased = replace(metric, by_label=False)  # of a metric of one's own, nothing says that it averages labels
    assert interval(biased, judged) is None
    assert why_none(biased, judged).startswith("nearly all resamples of the rows score less")


def test_rows_of_labels_are_counted_for_all_forms_of_labels() -> None:
    tags = Judged([[0, 0, 1], [1], [2]], [[0, 0, 1], [1], [2]], None, ["O", "B-X", "I-X"])
    several = Judged(np.array([[1, 0, 0], [1, 1, 0]]), None, None, ["a", "b", "on no row"])
    assert list(_rows_of_labels(tags)) == [1, 2, 1] and list(_rows_of_labels(several)) == [2, 1]


def test_scores_that_are_no_numbers_count_as_unknown() -> None:
    first, second = two_equal_models(np.random.default_rng(9), 100)
    observed = iter([1.0, 0.5])
    of_the_two = Metric(lambda judged: next(observed, math.nan))  # of no exchange
    assert p_value(of_the_two, first, second) is None
    assert p_value(Metric(lambda judged: math.nan), first, second) is None
    assert interval(Metric(lambda judged: math.nan), first) is None
    assert "score the same" in why_none(F1, of(np.ones(9, np.int64), np.ones(9, np.int64)))


def test_exchanges_without_a_score_do_not_count_as_small_differences() -> None:
    assert _share_reached(1.0, iter([2.0] * 5 + [0.0] * 90 + [math.nan] * 5)) == 6 / 96
    assert _share_reached(1.0, iter([2.0] * 5 + [0.0] * 60 + [math.nan] * 35)) is None
    assert _share_reached(1.0, iter([2.0] * 60)) == 1.0


def test_words_are_resampled_by_rows_not_by_words() -> None:
    """A row's words are right or wrong together here, so there are only as many facts as rows."""
    generator = np.random.default_rng(6)
    right = generator.random(50) < 0.7
    reference, predicted = [[1] * 20 for _ in right], [[int(one)] * 20 for one in right]
    metric = TYPES[next(kind for kind in TYPES if "token" in kind.value)].metrics["accuracy"]
    spread = noise(metric, Judged(reference, predicted, predicted, ["O", "B-X"]))
    expected = (right.mean() * (1 - right.mean()) / 50) ** 0.5
    assert spread is not None and spread.std == pytest.approx(expected, rel=0.3)


def test_a_metric_that_refuses_some_rows_fails_no_run() -> None:
    def picky(judged: Judged) -> float:
        if judged.reference.sum() < 100:
            raise ValueError("too few rows of label 1")
        return f1(judged)

    judged = two_equal_models(np.random.default_rng(7), 277)[0]
    spread = noise(Metric(picky), judged)
    assert spread is not None and 0.01 < spread.std < 0.1


@pytest.mark.parametrize("name", ["span_f1", "span_precision", "span_recall", "accuracy"])
def test_a_score_of_counts_is_quick_on_draws_and_the_same(name: str) -> None:
    generator = np.random.default_rng(8)
    tags = [[list(map(int, generator.integers(0, 3, 7))) for _ in range(60)] for _ in range(3)]
    first, second = (Judged(tags[0], one, one, ["B-X", "I-X", "O"]) for one in tags[1:])
    metric = TYPES[ProblemType.token_classification].metrics[name]
    slow = replace(metric, counted=None)
    assert metric.counted is not None
    assert interval(metric, first) == interval(slow, first) and noise(metric, first) == noise(slow, first)
    assert p_value(metric, first, second) == p_value(slow, first, second)


def test_errors_in_a_large_unit_are_told_apart_as_in_a_small_one() -> None:
    generator = np.random.default_rng(9)
    truth = generator.normal(size=100)
    mse = TYPES[ProblemType.regression].metrics["mse"]
    for unit in (1.0, 1e-7):
        near, far = (unit * (truth + error * generator.normal(size=100)) for error in (0.1, 1.0))
        one, other = (Judged(unit * truth, predicted, predicted, ["value"]) for predicted in (near, far))
        p, found = p_value(mse, one, other), interval(mse, one)
        assert p is not None and p < 0.01
        assert found is not None and 0 < found.low < found.high and noise(mse, one) is not None
        assert p_value(mse, one, one) == 1.0


def test_a_metric_is_timed_by_its_quickest_try() -> None:
    pauses = iter([0.0, 0.03, 0.0, 0.0])
    metric = Metric(lambda judged: time.sleep(next(pauses)) or 1.0)
    judged = two_equal_models(np.random.default_rng(0), 9)[0]
    assert seconds(metric, judged, limit=0.02) < 0.02
    assert len(list(pauses)) == 1
    assert seconds(ACCURACY, judged, limit=0.02) == 0.0
