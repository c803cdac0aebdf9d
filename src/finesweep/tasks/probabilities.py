"""Metrics of probabilities, [rows, labels]."""

from collections.abc import Callable

import numpy as np

from finesweep.tasks.metrics import Judged, scikit_learn


def _is_binary(judged: Judged) -> bool:
    return len(judged.names) == 2


def _one_hot(judged: Judged) -> np.ndarray:
    return np.asarray(np.eye(len(judged.names), dtype=np.int64)[judged.reference])  # [rows, labels]


def roc_auc(judged: Judged) -> float:
    """Of two labels, either one's, for they are equal; of more, the mean of each against the rest.

    NaN where a label does not occur, or nothing else does.
    """
    if _is_binary(judged):
        return scikit_learn("roc_auc_score", judged.reference, judged.scores[:, 1])
    return scikit_learn("roc_auc_score", _one_hot(judged), judged.scores, average="macro")


def average_precision(judged: Judged) -> float:
    """Of two labels, the positive one's; of more, the mean over the labels."""
    if judged.positive is not None:
        positive = judged.reference == judged.positive
        return scikit_learn("average_precision_score", positive, judged.scores[:, judged.positive])
    return scikit_learn("average_precision_score", _one_hot(judged), judged.scores, average="macro")


def log_loss(judged: Judged) -> float:
    return scikit_learn("log_loss", judged.reference, judged.scores, labels=range(len(judged.names)))


def brier(judged: Judged) -> float:
    """Gives the mean squared error of the probabilities: of two labels 0 to 1, of more 0 to 2."""
    labels = range(len(judged.names))
    return scikit_learn("brier_score_loss", judged.reference, judged.scores, labels=labels)


def top_k(k: int) -> Callable[[Judged], float]:
    """Gives the share of rows whose label is among the `k` most probable ones."""
    return lambda judged: scikit_learn(
        "top_k_accuracy_score", judged.reference, judged.scores, k=k, labels=range(len(judged.names))
    )
