"""Published scores of the BERT miniatures on GLUE's test splits, beside which a study of GLUE is shown.

Source: https://github.com/google-research/bert (README, "Smaller BERT Models"); Turc et al. (2019),
Well-Read Students Learn Better, arXiv:1908.08962. For each task, the best of 20 settings, 4 epochs.
"""

SOURCE = "https://github.com/google-research/bert"
MODELS = ("BERT-Tiny", "BERT-Mini", "BERT-Small", "BERT-Medium")
# Task and metric -> per cent, in the order of MODELS. Metrics are called as in `data.metric`.
SCORES: dict[str, dict[str, tuple[float, float, float, float]]] = {
    "cola": {"matthews_correlation": (0.0, 0.0, 27.8, 38.0)},
    "sst2": {"accuracy": (83.2, 85.9, 89.7, 89.6)},
    "mrpc": {"f1": (81.1, 81.1, 83.4, 86.6), "accuracy": (71.1, 71.8, 76.2, 81.6)},
    "stsb": {"pearson": (74.3, 75.4, 78.8, 80.4), "spearmanr": (73.6, 73.3, 77.0, 78.4)},
    "qqp": {"f1": (62.2, 66.4, 68.1, 69.6), "accuracy": (83.4, 86.2, 87.0, 87.9)},
    "mnli": {"accuracy": (70.2, 74.8, 77.6, 80.0)},  # matched
    "qnli": {"accuracy": (81.5, 84.1, 86.4, 87.7)},
    "rte": {"accuracy": (57.2, 57.9, 61.8, 62.2)},
    "wnli": {"accuracy": (62.3, 62.3, 62.3, 62.3)},
}


def published(task: str | None, metric: str) -> dict[str, float]:
    """Gives the published score of each model as a fraction; empty for another task or metric."""
    scores = SCORES.get(task or "", {}).get(metric)
    return (
        {}
        if scores is None
        else {model: round(score / 100, 4) for model, score in zip(MODELS, scores, strict=True)}
    )
