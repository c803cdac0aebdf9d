"""Metrics of probabilities. `Judged.scores` is [rows, labels] float64 in all of them."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from finesweep.tasks.metrics import Judged, scikit_learn


def _is_binary(judged: Judged) -> bool:
    return len(judged.names) == 2


def _one_hot(judged: Judged) -> np.ndarray:
    return np.asarray(np.eye(len(judged.names), dtype=np.int64)[judged.reference])  # [rows, labels]


def roc_auc(judged: Judged) -> float:
    """Computes ROC AUC: for two labels, that of either (they are equal); for more, the mean over the labels.

    NaN if a label is on no row, or on all rows.
    """
    if _is_binary(judged):
        return scikit_learn("roc_auc_score", judged.reference, judged.scores[:, 1])
    return scikit_learn("roc_auc_score", _one_hot(judged), judged.scores, average="macro")


def average_precision(judged: Judged) -> float:
    """Computes average precision: of the positive label if there is one, else the mean over the labels."""
    if judged.positive is not None:
        positive = judged.reference == judged.positive
        return scikit_learn("average_precision_score", positive, judged.scores[:, judged.positive])
    return scikit_learn("average_precision_score", _one_hot(judged), judged.scores, average="macro")


def log_loss(judged: Judged) -> float:
    """Computes the mean negative log-probability of the true labels."""
    return scikit_learn("log_loss", judged.reference, judged.scores, labels=range(len(judged.names)))


def brier(judged: Judged) -> float:
    """Computes the Brier score, a mean squared error: 0 to 1 for two labels, 0 to 2 for more."""
    labels = range(len(judged.names))
    return scikit_learn("brier_score_loss", judged.reference, judged.scores, labels=labels)


def top_k(k: int) -> Callable[[Judged], float]:
    """Makes a metric: the share of rows whose true label is among the `k` most probable ones."""
    return lambda judged: scikit_learn(
        "top_k_accuracy_score", judged.reference, judged.scores, k=k, labels=range(len(judged.names))
    )


def within_top(k: int) -> Callable[[Judged], NDArray[np.bool_]]:
    """Makes a function that tells which rows `top_k` counts: bool [rows]. Of ties, the last labels count."""

    def right(judged: Judged) -> NDArray[np.bool_]:
        best = np.argsort(judged.scores, axis=1, kind="mergesort")[:, ::-1][:, :k]
        return np.asarray((best == np.asarray(judged.reference)[:, None]).any(axis=1))

    return right
