"""Metrics by scikit-learn's names, computed by scikit-learn and scipy; and a person's own, by import path.

`check_metric` runs in the process that launches a sweep, so scikit-learn and scipy (a second) are imported
only when a metric is computed.
"""

from __future__ import annotations

import importlib
import math
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finesweep.config.run import DataConfig, Direction
from finesweep.errors import ConfigError

Array = NDArray[Any]


@dataclass(frozen=True)
class Judged:
    """Predictions beside the truth.

    reference, predicted: label ids [rows], numbers [rows], 0/1 [rows, labels], or a list of tag ids for each
    row.
    """

    reference: Any
    predicted: Any
    scores: Any  # probabilities [rows, labels] where a type has them; else as `predicted`
    names: Sequence[str]  # of the labels, by id
    positive: int | None = None  # the id of the label that binary metrics are about


@dataclass(frozen=True)
class Metric:
    """A metric: how it is computed, and which way is better."""

    compute: Callable[[Judged], float]
    direction: Direction = Direction.maximize
    is_binary: bool = False  # whether it is about one label of two; `data.positive_label` says which
    labels: int = 1  # how many labels there must be at least


def of_predictions(function: str, **options: Any) -> Callable[[Judged], float]:
    """Scores predicted labels with a function of `sklearn.metrics`."""
    return lambda judged: scikit_learn(function, judged.reference, judged.predicted, **options)


def of_positive(function: str) -> Callable[[Judged], float]:
    """Scores the predictions of the positive label; 0.0 where it is neither predicted nor a label."""

    def compute(judged: Judged) -> float:
        positive = judged.reference == judged.positive, judged.predicted == judged.positive
        return scikit_learn(function, *positive, zero_division=0)

    return compute


def averaged(function: str, average: str, **options: Any) -> Callable[[Judged], float]:
    return of_predictions(function, average=average, **{"zero_division": 0, **options})


def scikit_learn(function: str, *arguments: Any, **options: Any) -> float:
    from sklearn import metrics

    with warnings.catch_warnings(action="ignore"):  # that a score is undefined; its value says so
        return float(getattr(metrics, function)(*arguments, **options))


def or_zero(compute: Callable[[Judged], float]) -> Callable[[Judged], float]:
    """Replaces NaN by 0.0: a constant predictor has learned nothing, and a NaN objective fails its trial."""
    return lambda judged: 0.0 if math.isnan(value := compute(judged)) else value


def correlation(function: str) -> Callable[[Judged], float]:
    """Correlates numbers with a function of `scipy.stats`; 0.0 where one side is constant (scipy: NaN)."""

    def compute(judged: Judged) -> float:
        from scipy import stats

        if np.ptp(judged.predicted) == 0 or np.ptp(judged.reference) == 0:
            return 0.0
        return float(getattr(stats, function)(judged.predicted, judged.reference).statistic)

    return or_zero(compute)


def own_metric(name: str, direction: Direction | None) -> Metric:
    """Imports `module:function`, a person's own metric, from the working folder or an installed package.

    It is called as scikit-learn's are, function(y_true, y_pred), with label names where there are labels.
    Raises: ConfigError if it cannot be imported, or does not say which way is better.
    """
    if direction is None:
        raise ConfigError.at("data.direction", None, f"maximize or minimize, for your own metric {name}")
    function = own_function(name)
    return Metric(lambda judged: _own_score(name, function, judged), direction)


def own_function(name: str) -> Callable[[Any, Any], Any]:
    """Raises: ConfigError."""
    module, _, attribute = name.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        function = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # whatever the import of a person's own code raises
        problem = f"{type(error).__name__}: {error}"
        raise ConfigError(
            f"data.metric: got {name!r}, which cannot be imported ({problem}); legal: module:function, of a "
            "module in the working folder or an installed package"
        ) from error
    if not callable(function):
        raise ConfigError(f"data.metric: got {name!r}, which is no function; legal: module:function")
    return function  # type: ignore[no-any-return]


def _own_score(name: str, function: Callable[[Any, Any], Any], judged: Judged) -> float:
    value = function(_named(judged.reference, judged.names), _named(judged.predicted, judged.names))
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"data.metric: {name} returned {value!r}; legal: a number") from error


def _named(values: Any, names: Sequence[str]) -> Any:
    """Gives label names in place of ids; numbers and 0/1 tables stay as they are."""
    if isinstance(values, list):  # of tags, a list for each row
        return [[names[tag] for tag in row] for row in values]
    if np.ndim(values) == 1 and np.issubdtype(values.dtype, np.integer):
        return np.asarray(names)[values]
    return values


def check_direction(config: DataConfig, metric: Metric) -> None:
    """Raises: ConfigError for a `data.direction` that is not the metric's."""
    if config.direction not in (None, metric.direction):
        legal = f"null, or {metric.direction.value}, for {config.metric}"
        raise ConfigError.at("data.direction", config.direction.value if config.direction else None, legal)
