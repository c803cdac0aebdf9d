"""Classification: each row has one label. `data.problem_type=classification`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from datasets import Dataset, List, Value

from finesweep.config.run import Direction, ProblemType
from finesweep.errors import ConfigError
from finesweep.tasks.base import Array, Task, softmax
from finesweep.tasks.cells import as_name
from finesweep.tasks.metrics import (
    Judged,
    Metric,
    averaged,
    balanced_accuracy,
    of_positive,
    of_predictions,
    or_zero,
    right_rows,
)
from finesweep.tasks.probabilities import average_precision, brier, log_loss, roc_auc, top_k, within_top

if TYPE_CHECKING:
    import torch

AVERAGES = ("macro", "micro", "weighted")
TOP = (2, 3, 5, 10)
# Positive name -> negative name, for binary labels whose names tell which one is positive. A name with one of
# NEGATIONS before it (`not_x`) is the negative of the name without (`x`).
PLAIN_POSITIVES = {"1": "0", "true": "false", "yes": "no", "positive": "negative", "pos": "neg"}
NEGATIONS = ("not_", "not-", "not ", "non_", "non-", "no_", "no-")


def _quadratic_kappa(judged: Judged) -> float:
    """Computes Cohen's kappa with quadratic weights. Labels are grades, in the order of their ids."""
    grades = list(range(len(judged.names)))
    return or_zero(of_predictions("cohen_kappa_score", weights="quadratic", labels=grades))(judged)


class Classification(Task):
    problem_type = ProblemType.classification
    has_probabilities = stratifies = True
    label_feature = Value("string")
    id_feature = Value("int64")
    metrics = {
        "accuracy": Metric(of_predictions("accuracy_score"), right=right_rows),
        "balanced_accuracy": Metric(balanced_accuracy, by_label=True),
        **{
            name: Metric(of_positive(f"{name}_score"), is_binary=True, by_label=True)
            for name in ("f1", "precision", "recall")
        },
        **{
            f"{name}_{average}": Metric(averaged(f"{name}_score", average), by_label=average == "macro")
            for name in ("f1", "precision", "recall")
            for average in AVERAGES
        },
        "matthews_correlation": Metric(of_predictions("matthews_corrcoef")),
        "cohen_kappa": Metric(or_zero(of_predictions("cohen_kappa_score"))),
        "quadratic_kappa": Metric(_quadratic_kappa),
        "roc_auc": Metric(roc_auc, needs_every_label=True, by_label=True),
        "average_precision": Metric(average_precision, is_binary=True, by_label=True),
        "average_precision_macro": Metric(average_precision, by_label=True),
        "log_loss": Metric(log_loss, Direction.minimize),
        "brier": Metric(brier, Direction.minimize),
        **{f"top_{k}_accuracy": Metric(top_k(k), labels=k + 1, right=within_top(k)) for k in TOP},
    }

    def read_label(self, cells: Sequence[object]) -> str:
        return as_name(cells[0], self.config.labels or ())

    def names_in(self, label: str) -> Iterable[str]:
        return (label,)

    def encode(self, label: str, ids: Mapping[str, int]) -> int:
        return ids[label]

    def head(self, names: Sequence[str]) -> dict[str, Any]:
        return {**super().head(names), "problem_type": "single_label_classification"}

    def class_counts(self, labels: Any, size: int) -> Array:
        return np.asarray(np.bincount(labels, minlength=size))

    def weighted_loss(
        self, logits: "torch.Tensor", labels: "torch.Tensor", weights: "torch.Tensor"
    ) -> "torch.Tensor":
        from torch.nn.functional import cross_entropy

        return cross_entropy(logits, labels, weight=weights, reduction="none").mean()

    def scores(self, logits: Array, label_ids: Array | None = None) -> Array:
        return softmax(logits)

    def decide(self, scores: Array) -> Array:
        return np.asarray(np.asarray(scores).argmax(axis=-1), np.int64)

    def metric_features(self) -> tuple[Any, Any]:
        return List(Value("float64")), Value("int64")

    def default_metrics(self, names: Sequence[str]) -> list[str]:
        f1 = ["f1"] if self.positive_id(names) is not None else []
        return ["accuracy", *f1, "f1_macro", "matthews_correlation"]

    def misfit(self, metric: str, names: Sequence[str]) -> str | None:
        which, wanted = f"data.metric: got {metric!r}", self.metrics[metric]
        if len(names) < wanted.labels:
            return f"{which}, which is for {wanted.labels} labels or more, but the data has {len(names)}"
        if wanted.is_binary and len(names) != 2:
            return f"{which}, which is for 2 labels, but the data has {len(names)}"
        if wanted.is_binary and self.positive_id(names) is None:
            either = " or ".join(f"data.positive_label={name}" for name in names)
            return f"{which}, which scores one of two labels; say whose it is: {either}"
        return None

    def positive_id(self, names: Sequence[str]) -> int | None:
        """Returns the id of the positive one of two labels; None if neither config nor names tell.

        Raises: ConfigError for a `data.positive_label` that is no label, or if there are more than two.
        """
        named = self.config.positive_label
        if named is None:
            return _plainly_positive(names)
        if len(names) != 2:
            raise ConfigError.at("data.positive_label", named, f"null, for the data has {len(names)} labels")
        if named not in names:
            raise ConfigError.at("data.positive_label", named, " or ".join(names))
        return list(names).index(named)

    def answers(
        self, logits: Array, rows: Dataset, names: Sequence[str]
    ) -> tuple[list[str], Iterator[list[str]]]:
        return ["prediction"], ([names[label]] for label in logits.argmax(axis=-1))


def _plainly_positive(names: Sequence[str]) -> int | None:
    """Tells by the names which of two labels is positive; None if they do not tell, or are not two."""
    plain = [name.lower() for name in names]
    for positive, negative in ((0, 1), (1, 0)) if len(names) == 2 else ():
        name = plain[positive]
        if plain[negative] in (PLAIN_POSITIVES.get(name), *(f"{no}{name}" for no in NEGATIONS)):
            return positive
    return None
