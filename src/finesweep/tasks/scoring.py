"""Chooses the metrics of a run by task and config, and computes them."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from finesweep.config.run import Direction, is_own_metric, metric_key
from finesweep.errors import ConfigError, DataError, did_you_mean
from finesweep.tasks.base import Task
from finesweep.tasks.evaluated import Evaluated
from finesweep.tasks.metrics import Judged, Metric, check_direction, own_metric

if TYPE_CHECKING:
    from transformers import EvalPrediction


def metric_of(task: Task, name: str) -> Metric:
    """Looks up a metric, or imports the user's own. Raises: ConfigError if the task has no such metric."""
    if is_own_metric(name):
        return own_metric(name, task.config.direction)
    if name not in task.metrics:
        others = [kind.problem_type.value for kind in Task.__subclasses__() if name in kind.metrics]
        reason = f", a metric of data.problem_type={' or '.join(others)}" if others else ""
        raise ConfigError(
            f"data.metric: got {name!r}{reason}; {did_you_mean(name, task.metrics)}known for "
            f"data.problem_type={task.problem_type.value}: "
            f"{', '.join(task.metrics)}; or your own function, as module:function"
        )
    return task.metrics[name]


def direction_of(task: Task) -> Direction:
    """Returns whether `data.metric` is to be maximized or minimized. Raises: ConfigError."""
    return metric_of(task, task.config.metric).direction


def known_metrics(task: Task) -> list[str]:
    """Names the metrics that can score a run of this task, as they are logged."""
    own = [metric_key(task.config.metric)] if is_own_metric(task.config.metric) else []
    return [*own, *task.metrics]


def check_metric(task: Task, names: Sequence[str]) -> None:
    """Checks `data.metric` against the labels, quickly: without importing torch or scikit-learn.

    Raises: ConfigError for a metric that is unknown or does not fit the labels, a `data.direction` that
    contradicts it, or a binary metric if it is not known which label is positive.
    """
    name = task.config.metric
    check_direction(task.config, metric_of(task, name))
    task.positive_id(names)  # raises if data.positive_label is no label
    if not is_own_metric(name) and (problem := task.misfit(name, names)):
        fitting = ", ".join(metric for metric in task.metrics if not task.misfit(metric, names))
        raise ConfigError(f"{problem}; legal here: {fitting}")


def check_labels(
    task: Task, metric: str, names: Sequence[str], labels: Any, key: str = "data.metric",
    rows: str = "evaluation rows",
) -> None:  # fmt: skip
    """Checks that a metric can score rows with these labels; roc_auc can be NaN, for example.

    labels: the encoded label column of the rows. key: the config key that names the metric. rows: which ones.
    Raises: ConfigError if the metric needs every label, and a label is on none of the rows, or on all.
    """
    if metric not in task.metrics or not task.metrics[metric].needs_every_label:
        return
    for name, count in zip(names, task.class_counts(labels, len(names)), strict=True):
        if count in (0, len(labels)):
            raise ConfigError(
                f"{key}: got {metric!r}, which needs rows with and rows without each label, but "
                f"{'none' if count == 0 else 'all'} of the {len(labels)} {rows} have the label {name!r}; "
                "choose other rows (data.eval_split, data.final_eval_split, data.holdout), or another metric"
            )


def score_name(task: Task, names: Sequence[str]) -> str:
    """Names `data.metric` for messages, with the positive label if it has one: `f1 of 'fraud'`."""
    name = task.config.metric
    if not is_own_metric(name) and task.metrics[name].is_binary:
        positive = task.positive_id(names)
        return name if positive is None else f"{name} of {names[positive]!r}"
    return name


class Scorer:
    """Computes the metrics of a run; it is the `compute_metrics` of `Trainer`.

    The metrics are `data.metric`, the default metrics of the task type, and `more`. If an output is not
    finite, all are NaN, so that a model that has diverged is not taken for a poor one.
    """

    def __init__(self, task: Task, names: Sequence[str], more: Collection[str] = ()) -> None:
        """more: names of further metrics; those that cannot score this task are left out.

        Only `data.metric` may be a user's own: `more` can come from a record, which never names code to run.
        """
        self.task, self.names, self.positive = task, list(names), task.positive_id(names)
        wanted = [task.config.metric, *task.default_metrics(names), *sorted(more)]
        own = filter(is_own_metric, wanted[:1])
        known = [name for name in wanted if name in task.metrics and not task.misfit(name, names)]
        self.metrics = {metric_key(name): metric_of(task, name) for name in (*own, *known)}
        self.predictions_sha256 = ""  # the hash of the last call's predictions
        self.evaluated: Evaluated | None = None  # the rows of the last call
        self._evaluate = _evaluate_metric(self)

    def __call__(self, evaluation: EvalPrediction) -> dict[str, float]:
        """Scores an evaluation, and hashes its predictions.

        Raises: DataError if there are no rows, or for a label id that the task does not have.
        """
        return self.scored(outputs_of(evaluation.predictions), np.asarray(evaluation.label_ids))

    def scored(self, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Does the same with the outputs and the padded labels of all rows. Raises: as `__call__`."""
        references = self.task.references(labels)
        self._check(references)
        if not np.isfinite(logits).all():
            return dict.fromkeys(self.metrics, float("nan"))
        scores = self.task.scores(logits, labels)
        self.predictions_sha256 = _hash(self.task, logits, scores)
        self.evaluated = Evaluated(scores, references)
        values: dict[str, float] = self._evaluate.compute(predictions=scores, references=references)
        return values

    def score(self, scores: Any, references: Any) -> dict[str, float]:
        """Computes all metrics. Both arguments are lists with one item per row."""
        judged = self.judged(scores, references)
        values = {name: metric.compute(judged) for name, metric in self.metrics.items()}
        return values | self.task.extra_scores(judged.predicted, judged.reference, self.names)

    def judged(self, scores: Any, references: Any) -> Judged:
        """Returns what the metrics are computed of. Both arguments: as for `score`."""
        if not self.task.is_pretokenized:
            scores, references = _array(scores), _array(references)
        predicted = self.task.decide(scores)
        return Judged(references, predicted, scores, self.names, self.positive)

    def _check(self, references: Any) -> None:
        if len(references) == 0:
            raise DataError("nothing to evaluate: the evaluation split has no rows; see data.eval_split")
        if not self.task.has_names or self.task.is_pretokenized:
            return
        wrong = np.argwhere((references < 0) | (references >= len(self.names)))
        if len(wrong):
            label = references[tuple(wrong[0])]
            raise DataError(
                f"row {wrong[0][0]} of the evaluation split has label id {label}; expected 0 to "
                f"{len(self.names) - 1} (-1 means no label: data.eval_split must be a labelled split)"
            )


def _array(values: Any) -> np.ndarray:
    """Makes an array of a list; numbers become float64, as in a list of Python's."""
    array = np.asarray(values)
    return array.astype(np.float64) if np.issubdtype(array.dtype, np.floating) else array


def outputs_of(predictions: Any) -> np.ndarray:
    """Returns the logits of a model's output, which may be a tuple with the logits first."""
    return np.asarray(predictions[0] if isinstance(predictions, tuple) else predictions)


def _hash(task: Task, logits: np.ndarray, scores: Any) -> str:
    """Hashes the predictions (SHA-256): label ids, 0/1 or lists of tags; for a regression, the outputs."""
    decided = task.decide(scores)
    if isinstance(decided, list):
        return hashlib.sha256(repr(decided).encode()).hexdigest()
    kept = decided if np.issubdtype(decided.dtype, np.integer) else logits
    return hashlib.sha256(np.ascontiguousarray(kept).tobytes()).hexdigest()


def _evaluate_metric(scorer: Scorer) -> Any:
    """Makes an `evaluate.Metric` that computes all metrics of a scorer at once, without the hub.

    It keeps rows in memory; by default, all workers would share an Arrow file and a lock under ~/.cache. Its
    constructor makes a cache folder nevertheless, which stays empty and is removed at once.
    """
    import datasets
    import evaluate

    class TaskMetric(evaluate.Metric):  # type: ignore[misc]  # evaluate has no type hints
        def _info(self) -> Any:
            scores, label = scorer.task.metric_features()
            return evaluate.MetricInfo(
                description="The metrics of one type of task, computed by scikit-learn and scipy",
                citation="https://scikit-learn.org/stable/modules/model_evaluation.html",
                inputs_description="Scores and true labels, one of each a row.",
                features=datasets.Features({"predictions": scores, "references": label}),
            )  # with format="numpy", it would convert float64 to float32

        def _compute(self, predictions: list[Any], references: list[Any]) -> dict[str, float]:
            return scorer.score(predictions, references)

    with tempfile.TemporaryDirectory() as empty:
        name = scorer.task.problem_type.value
        return TaskMetric(config_name=name, cache_dir=empty, keep_in_memory=True)
