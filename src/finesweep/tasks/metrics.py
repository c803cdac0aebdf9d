"""Builds metrics from functions of scikit-learn and scipy, and of the user's own function.

scikit-learn and scipy are imported only when a metric is computed, because that takes a second, and the
process that launches a sweep only checks the metric's name.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from finesweep.config.own import import_own
from finesweep.config.run import DataConfig, Direction
from finesweep.errors import ConfigError

Array = NDArray[Any]


class Labels(NamedTuple):
    """The label ids that are on some rows; both int64 [labels], sorted."""

    true: Array
    either: Array  # true or predicted ones


@dataclass(frozen=True)
class Judged:
    """The true labels of evaluated rows (`reference`), and what the model says of them.

    reference, predicted: label ids [rows], numbers [rows], 0/1 [rows, labels], or a list of tag ids per row.
    """

    reference: Any
    predicted: Any
    scores: Any  # probabilities [rows, labels] if the task type has them; else equal to `predicted`
    names: Sequence[str]  # the label names, ordered by id
    positive: int | None = None  # the id of the label that binary metrics score
    labels: Labels | None = None  # of drawn rows: the labels of all rows, which a draw may lack


@dataclass(frozen=True)
class Metric:
    """A metric: its computation, and whether higher or lower is better."""

    compute: Callable[[Judged], float]
    direction: Direction = Direction.maximize
    is_binary: bool = False  # whether it scores one of two labels, `data.positive_label`
    labels: int = 1  # the least number of labels that the data must have
    needs_every_label: bool = False  # whether it is NaN if a label is on none of the rows, or on all of them
    by_label: bool = False  # whether it scores labels one by one: one of them, or the mean over them
    right: Callable[[Judged], NDArray[np.bool_]] | None = None  # of a share of right rows: which ones are
    counted: Counted | None = None  # of a score of counts: those of each row, by which draws are quick


class Counted(NamedTuple):
    """A score of counts that are summed over the rows, as those of entities."""

    counts: Callable[[Judged], Array]  # int64 [rows, counts]
    score: Callable[[Array], float]  # of the sums, [counts]

    def metric(self) -> Metric:
        return Metric(lambda judged: self.score(self.counts(judged).sum(axis=0)), counted=self)


def of_predictions(function: str, **options: Any) -> Callable[[Judged], float]:
    """Makes a metric of predictions from a function of `sklearn.metrics`."""
    return lambda judged: scikit_learn(function, judged.reference, judged.predicted, **options)


def right_rows(judged: Judged) -> NDArray[np.bool_]:
    """Tells which rows are predicted as they are, with all their labels. Returns [rows]."""
    equal = np.asarray(judged.reference == judged.predicted)
    return equal if equal.ndim == 1 else np.asarray(equal.all(axis=1))


def of_positive(function: str) -> Callable[[Judged], float]:
    """Makes a metric of the positive label; it is 0.0 if no row has the label and none is predicted to."""

    def compute(judged: Judged) -> float:
        positive = judged.reference == judged.positive, judged.predicted == judged.positive
        return scikit_learn(function, *positive, zero_division=0)

    return compute


def averaged(function: str, average: str, **options: Any) -> Callable[[Judged], float]:
    """Makes a metric that averages a function of `sklearn.metrics` over the labels.

    Of drawn rows, over those of all rows: without one of them, the draw would score another metric.
    """
    options = {"average": average, "zero_division": 0, **options}

    def compute(judged: Judged) -> float:
        labels = None if judged.labels is None else judged.labels.either
        return scikit_learn(function, judged.reference, judged.predicted, labels=labels, **options)

    return compute


def balanced_accuracy(judged: Judged) -> float:
    """Computes the mean recall over the true labels; NaN of drawn rows that lack one of them."""
    if judged.labels is not None and len(np.unique(judged.reference)) < len(judged.labels.true):
        return math.nan
    return scikit_learn("balanced_accuracy_score", judged.reference, judged.predicted)


def scikit_learn(function: str, *arguments: Any, **options: Any) -> float:
    """Calls a function of `sklearn.metrics`, without its warnings."""
    from sklearn import metrics

    with warnings.catch_warnings(action="ignore"):  # it warns of undefined scores, which are 0.0 or NaN
        return float(getattr(metrics, function)(*arguments, **options))


def or_zero(compute: Callable[[Judged], float]) -> Callable[[Judged], float]:
    """Replaces NaN, the score of constant predictions, by 0.0: a NaN objective would fail the trial."""
    return lambda judged: 0.0 if math.isnan(value := compute(judged)) else value


def correlation(function: str) -> Callable[[Judged], float]:
    """Makes a metric from a correlation of `scipy.stats`; 0.0 (not scipy's NaN) if one side is constant."""

    def compute(judged: Judged) -> float:
        from scipy import stats

        if np.ptp(judged.predicted) == 0 or np.ptp(judged.reference) == 0:
            return 0.0
        return float(getattr(stats, function)(judged.predicted, judged.reference).statistic)

    return or_zero(compute)


def own_metric(name: str, direction: Direction | None) -> Metric:
    """Makes a metric of the user's own function, `module:function`.

    It is called as scikit-learn's functions are, function(y_true, y_pred), with label names instead of ids.
    Raises: ConfigError if it cannot be imported, or if `data.direction` is not set.
    """
    if direction is None:
        raise ConfigError.at("data.direction", None, f"maximize or minimize, for your own metric {name}")
    function = import_own("data.metric", name)
    return Metric(lambda judged: _own_score(name, function, judged), direction)


def _own_score(name: str, function: Callable[[Any, Any], Any], judged: Judged) -> float:
    value = function(_named(judged.reference, judged.names), _named(judged.predicted, judged.names))
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"data.metric: {name} returned {value!r}; legal: a number") from error


def _named(values: Any, names: Sequence[str]) -> Any:
    """Replaces label ids by names; numbers and 0/1 tables stay as they are."""
    if isinstance(values, list):  # a list of tags for each row
        return [[names[tag] for tag in row] for row in values]
    if np.ndim(values) == 1 and np.issubdtype(values.dtype, np.integer):
        return np.asarray(names)[values]
    return values


def check_direction(config: DataConfig, metric: Metric) -> None:
    """Raises: ConfigError if `data.direction` contradicts the metric."""
    if config.direction not in (None, metric.direction):
        legal = f"null, or {metric.direction.value}, for {config.metric}"
        raise ConfigError.at("data.direction", config.direction.value if config.direction else None, legal)
