"""Regression: each row's label is a number. `data.problem_type=regression`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from datasets import Dataset, Value

from finesweep.config.run import Direction, ProblemType
from finesweep.errors import ConfigError, SubmissionError
from finesweep.tasks.base import Array, Task
from finesweep.tasks.cells import as_number
from finesweep.tasks.metrics import Metric, correlation, of_predictions


class Regression(Task):
    problem_type = ProblemType.regression
    has_names = False
    label_feature = id_feature = Value("float32")
    metrics = {
        "pearson": Metric(correlation("pearsonr")),
        "spearmanr": Metric(correlation("spearmanr")),
        "mse": Metric(of_predictions("mean_squared_error"), Direction.minimize),
        "rmse": Metric(of_predictions("root_mean_squared_error"), Direction.minimize),
        "mae": Metric(of_predictions("mean_absolute_error"), Direction.minimize),
        "r2": Metric(of_predictions("r2_score")),
    }

    def check_config(self) -> None:
        super().check_config()
        if self.config.labels is not None:
            raise ConfigError.at("data.labels", self.config.labels, "null for data.problem_type=regression")

    def read_label(self, cells: Sequence[object]) -> float:
        return as_number(cells[0])

    def names_in(self, label: float) -> Iterable[str]:
        return ()

    def encode(self, label: float, ids: Mapping[str, int]) -> float:
        return label

    def head(self, names: Sequence[str]) -> dict[str, Any]:
        return {**super().head(names), "problem_type": "regression"}

    def scores(self, logits: Array, label_ids: Array | None = None) -> Array:
        return logits.reshape(-1)

    def decide(self, scores: Array) -> Array:
        return np.asarray(scores)

    def metric_features(self) -> tuple[Any, Any]:
        return Value("float64"), Value("float64")

    def default_metrics(self, names: Sequence[str]) -> list[str]:
        return ["pearson", "spearmanr", "mse"]

    def answers(
        self, logits: Array, rows: Dataset, names: Sequence[str]
    ) -> tuple[list[str], Iterator[list[str]]]:
        numbers = logits.reshape(-1)
        for row in np.flatnonzero(~np.isfinite(numbers))[:1]:
            raise SubmissionError(f"row {row}: predicted {numbers[row]}; expected a number")
        return ["prediction"], ([f"{number:.6f}"] for number in numbers)
