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

# A new output layer predicts numbers near 0, and its steps are of about the learning rate: numbers whose root
# mean square is above LARGE, or that differ by less than SMALL, are hardly learned. STS-B's are 3.1 and 1.5.
LARGE, SMALL = 10.0, 0.1


class Regression(Task):
    problem_type = ProblemType.regression
    mean, std = 0.0, 1.0  # of the training rows if the model learns standardized numbers
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

    @property
    def is_standardized(self) -> bool:
        return (self.mean, self.std) != (0.0, 1.0)

    def fitted(self, labels: Any) -> "Regression":
        """Returns a task with mean and standard deviation of the training labels, if it needs them."""
        task, wanted = Regression(self.config), self.config.standardize
        numbers = np.asarray(labels, np.float64)
        is_far = np.sqrt((numbers**2).mean()) > LARGE or 0 < numbers.std() < SMALL
        if wanted or (wanted is None and is_far):
            task.mean, task.std = float(numbers.mean()), float(numbers.std()) or 1.0
        return task

    def restored(self, model_config: Mapping[str, Any]) -> "Regression":
        task = Regression(self.config)
        task.mean = float(model_config.get("target_mean", Regression.mean))
        task.std = float(model_config.get("target_std", Regression.std))
        return task

    def learned(self, rows: Dataset) -> Dataset:
        if not self.is_standardized:
            return rows
        scaled = (np.asarray(rows["labels"][:], np.float64) - self.mean) / self.std
        column = scaled.astype(np.float32)
        return rows.remove_columns("labels").add_column("labels", column, feature=Value("float32"))

    def head(self, names: Sequence[str]) -> dict[str, Any]:
        """Returns also `target_mean` and `target_std`: a prediction is the output * std + mean."""
        scale = {"target_mean": self.mean, "target_std": self.std}
        return {**super().head(names), "problem_type": "regression", **scale}

    def references(self, label_ids: Array) -> Array:
        return self._in_unit(label_ids)

    def scores(self, logits: Array, label_ids: Array | None = None) -> Array:
        return self._in_unit(logits.reshape(-1))

    def averaged(self, logits: Sequence[Array]) -> Array:
        return np.asarray(np.mean(logits, axis=0, dtype=np.float64), np.float32)

    def _in_unit(self, numbers: Array) -> Array:
        """Converts what the model learns and gives to the unit of the data."""
        if not self.is_standardized:
            return numbers
        return np.asarray(numbers.astype(np.float64) * self.std + self.mean, np.float32)

    def decide(self, scores: Array) -> Array:
        return np.asarray(scores)

    def metric_features(self) -> tuple[Any, Any]:
        return Value("float64"), Value("float64")

    def default_metrics(self, names: Sequence[str]) -> list[str]:
        return ["pearson", "spearmanr", "mse"]

    def answers(
        self, logits: Array, rows: Dataset, names: Sequence[str]
    ) -> tuple[list[str], Iterator[list[str]]]:
        numbers = self.scores(logits)
        for row in np.flatnonzero(~np.isfinite(numbers))[:1]:
            raise SubmissionError(f"row {row}: predicted {numbers[row]}; expected a number")
        return ["prediction"], ([f"{number:.6f}"] for number in numbers)

    def predictions(self, logits: Array, rows: Dataset, names: Sequence[str]) -> dict[str, list[Any]]:
        return {"prediction": self.scores(logits).tolist()}
