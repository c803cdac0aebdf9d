"""The GLUE metrics, as an `evaluate.Metric` that needs no hub.

`evaluate.load` fetches a script from the hub on first use; a subclass in our own code does not.
`check_metric` runs in the process that launches a sweep, so `evaluate` (which imports torch: seconds) is
imported only by `metrics_for`, in a worker.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from finesweep.config.run import DataConfig, Direction, ProblemType
from finesweep.errors import ConfigError, DataError

if TYPE_CHECKING:
    from transformers import EvalPrediction

Array = NDArray[Any]  # [rows]: label ids (int64) in classification, numbers (float64) in regression


def accuracy(predictions: Array, references: Array) -> float:
    return float(np.mean(predictions == references))


def _f1_per_class(predictions: Array, references: Array) -> Array:
    """[classes] float64; NaN for a class that is neither predicted nor a label."""
    classes = int(max(predictions.max(), references.max())) + 1
    hits = np.bincount(references[predictions == references], minlength=classes)
    either = np.bincount(predictions, minlength=classes) + np.bincount(references, minlength=classes)
    scores: Array = np.divide(2.0 * hits, either, out=np.full(classes, np.nan), where=either > 0)
    return scores


def f1(predictions: Array, references: Array) -> float:
    """F1 of class 1, GLUE's positive class; 0.0 where class 1 is neither predicted nor a label."""
    scores = _f1_per_class(predictions, references)
    return float(np.nan_to_num(scores[1])) if len(scores) > 1 else 0.0


def f1_macro(predictions: Array, references: Array) -> float:
    """Mean F1 over the classes that are predicted or labels, as scikit-learn's `average="macro"`."""
    return float(np.nanmean(_f1_per_class(predictions, references)))


def matthews_correlation(predictions: Array, references: Array) -> float:
    """For two classes or more (Gorodkin's R_K); 0.0 where one side is constant, as in scikit-learn."""
    classes = int(max(predictions.max(), references.max())) + 1
    predicted = np.bincount(predictions, minlength=classes).astype(np.float64)
    labelled = np.bincount(references, minlength=classes).astype(np.float64)
    rows = float(len(references))
    covariance = rows * np.count_nonzero(predictions == references) - predicted @ labelled
    spread = np.sqrt((rows**2 - predicted @ predicted) * (rows**2 - labelled @ labelled))
    return float(covariance / spread) if spread > 0 else 0.0


def pearson(predictions: Array, references: Array) -> float:
    """0.0 where one side is constant.

    scipy, and so GLUE's script, answers NaN there. But a regression head often starts out constant, and a NaN
    objective is a failed trial; a constant predictor has learned nothing, which is what 0.0 says.
    """
    if np.ptp(predictions) == 0 or np.ptp(references) == 0:
        return 0.0
    x, y = predictions - predictions.mean(), references - references.mean()
    return float(np.clip((x / np.linalg.norm(x)) @ (y / np.linalg.norm(y)), -1.0, 1.0))


def _ranks(values: Array) -> Array:
    """[rows] float64 from 1; equal values share the mean of their ranks."""
    _, group, size = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(size) - (size - 1) / 2.0)[group]


def spearmanr(predictions: Array, references: Array) -> float:
    """Pearson's correlation of the ranks; 0.0 where one side is constant, as in `pearson`."""
    return pearson(_ranks(predictions), _ranks(references))


def mse(predictions: Array, references: Array) -> float:
    return float(np.mean((predictions - references) ** 2))


@dataclass(frozen=True)
class Score:
    """A metric: how it is computed, which task it fits, and which way is better."""

    function: Callable[[Array, Array], float]  # (predictions, references) -> score
    problem_type: ProblemType
    direction: Direction = Direction.maximize
    num_labels: int | None = None  # null: any number of classes

    def fits(self, problem_type: ProblemType, num_labels: int) -> bool:
        return self.problem_type is problem_type and self.num_labels in (None, num_labels)


METRICS = {
    "accuracy": Score(accuracy, ProblemType.classification),
    "f1": Score(f1, ProblemType.classification, num_labels=2),
    "f1_macro": Score(f1_macro, ProblemType.classification),
    "matthews_correlation": Score(matthews_correlation, ProblemType.classification),
    "pearson": Score(pearson, ProblemType.regression),
    "spearmanr": Score(spearmanr, ProblemType.regression),
    "mse": Score(mse, ProblemType.regression, Direction.minimize),
}


def fitting(problem_type: ProblemType, num_labels: int) -> list[str]:
    """Names of the metrics that such a task can be scored with."""
    return [name for name, score in METRICS.items() if score.fits(problem_type, num_labels)]


def check_metric(config: DataConfig, num_labels: int) -> None:
    """Imports neither torch nor evaluate.

    Raises: ConfigError for an unknown `data.metric`, one that does not fit, or the wrong `data.direction`.
    """
    name, score = config.metric, METRICS.get(config.metric)
    if score is None:
        raise ConfigError(f"data.metric: got {name!r}; known: {', '.join(METRICS)}")
    legal = ", ".join(fitting(config.problem_type, num_labels))
    if score.problem_type is not config.problem_type:
        reason = f"a {score.problem_type.value} metric, but data.problem_type is {config.problem_type.value}"
        raise ConfigError(f"data.metric: got {name!r}, {reason}; legal here: {legal}")
    if not score.fits(config.problem_type, num_labels):
        reason = f"which is for {score.num_labels} labels, but the data has {num_labels}"
        raise ConfigError(f"data.metric: got {name!r}, {reason}; legal here: {legal}")
    if config.direction is not score.direction:
        raise ConfigError.at("data.direction", config.direction.value, f"{score.direction.value}, for {name}")


def metrics_for(config: DataConfig, num_labels: int) -> Callable[[EvalPrediction], dict[str, float]]:
    """`Trainer`'s `compute_metrics`: every metric that fits the task, as plain floats.

    It takes logits, [rows, num_labels] float32 (regression: [rows] or [rows, 1]), or a tuple that starts with
    them, and label ids, [rows]. Logits that are not finite score NaN: their argmax would be some class, and a
    model that has blown up must not look like a poor one.

    Raises (when called): DataError for no rows, or for a label id that is not one of the task's.
    """
    metric = glue_metric(config.problem_type, fitting(config.problem_type, num_labels))
    classes = num_labels if config.problem_type is ProblemType.classification else None

    def compute_metrics(evaluation: EvalPrediction) -> dict[str, float]:
        outputs = evaluation.predictions
        logits = np.asarray(outputs[0] if isinstance(outputs, tuple) else outputs)
        labels = np.asarray(evaluation.label_ids)
        _check_labels(labels, classes)
        if not np.isfinite(logits).all():
            return dict.fromkeys(fitting(config.problem_type, num_labels), float("nan"))
        predictions = logits.reshape(-1) if classes is None else logits.argmax(axis=-1)
        scores: dict[str, float] = metric.compute(predictions=predictions, references=labels)
        return scores

    return compute_metrics


def _check_labels(labels: Array, classes: int | None) -> None:
    if len(labels) == 0:
        raise DataError("nothing to evaluate: the evaluation split has no rows; see data.eval_split")
    if classes is None:
        return
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        row, label = wrong[0], labels[wrong[0]]
        raise DataError(
            f"row {row} of the evaluation split has label id {label}; expected 0 to {classes - 1} "
            "(-1 is an unlabelled row: data.eval_split must be a labelled split)"
        )


def glue_metric(problem_type: ProblemType, names: list[str]) -> Any:
    """An `evaluate.Metric` that answers all of `names` at once, as evaluate's own GLUE metric does per task.

    It keeps its rows in memory: the default is an Arrow file and a lock under ~/.cache, for all workers.
    Its constructor makes a cache folder all the same; nothing is ever put there, so it may go at once.
    """
    import datasets
    import evaluate

    dtype = "int64" if problem_type is ProblemType.classification else "float64"

    class GlueMetric(evaluate.Metric):  # type: ignore[misc]  # evaluate has no type hints
        def _info(self) -> Any:
            columns = {name: datasets.Value(dtype) for name in ("predictions", "references")}
            return evaluate.MetricInfo(
                description="The metrics of the GLUE benchmark",
                citation="https://gluebenchmark.com",
                inputs_description="Label ids, or numbers for a regression; one per row.",
                features=datasets.Features(columns),
            )  # not format="numpy": it hands float64 over as float32

        def _compute(self, predictions: list[float], references: list[float]) -> dict[str, float]:
            rows = np.asarray(predictions, dtype), np.asarray(references, dtype)
            return {name: METRICS[name].function(*rows) for name in names}

    with tempfile.TemporaryDirectory() as nothing:
        return GlueMetric(config_name=problem_type.value, cache_dir=nothing, keep_in_memory=True)
