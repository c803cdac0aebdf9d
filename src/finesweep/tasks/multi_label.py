"""Multi-label classification: a row has any number of labels, or none.

`data.problem_type=multi_label_classification`. A table has the labels in one of three forms: a list; a text
with `data.label_separator` between the names; or one 0/1 column per label, named by `data.label_columns`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from datasets import Dataset, List, Value

from finesweep.config.run import Direction, ProblemType
from finesweep.errors import ConfigError
from finesweep.tasks.base import TINY, Array, Task
from finesweep.tasks.cells import CellError, as_flag, as_list, is_empty, shown, written_name
from finesweep.tasks.metrics import Judged, Metric, averaged, of_predictions, right_rows, scikit_learn

if TYPE_CHECKING:
    import torch

SEPARATOR = "|"  # in a prediction file, if data.label_separator is null


def _of_probabilities(function: str) -> Callable[[Judged], float]:
    """Makes a metric of probabilities: the mean over the labels."""
    return lambda judged: scikit_learn(function, judged.reference, judged.scores, average="macro")


class MultiLabel(Task):
    problem_type = ProblemType.multi_label_classification
    has_probabilities = True
    label_feature = List(Value("string"))
    id_feature = List(Value("float32"))  # 0/1 for each label
    metrics = {
        **{
            f"{name}_{average}": Metric(averaged(f"{name}_score", average), by_label=average == "macro")
            for name in ("f1", "precision", "recall")
            for average in ("micro", "macro", "weighted")
        },
        # A row without labels, for which none is predicted, counts as right.
        "f1_samples": Metric(averaged("f1_score", "samples", zero_division=1)),
        "subset_accuracy": Metric(of_predictions("accuracy_score"), right=right_rows),
        "hamming_loss": Metric(of_predictions("hamming_loss"), Direction.minimize),
        "roc_auc": Metric(_of_probabilities("roc_auc_score"), needs_every_label=True, by_label=True),
        "average_precision": Metric(_of_probabilities("average_precision_score"), by_label=True),
    }

    @property
    def label_columns(self) -> list[str]:
        return list(self.config.label_columns) or [self.config.label_column]

    def check_config(self) -> None:
        """Raises: ConfigError for two forms of labels at once, or `labels` that differ from the columns."""
        columns = list(self.config.label_columns)
        if not columns:
            return
        if self.config.label_separator is not None:
            legal = "null together with data.label_columns: a table has one form or the other"
            raise ConfigError.at("data.label_separator", self.config.label_separator, legal)
        if len(set(columns)) < len(columns) or len(columns) < 2:
            raise ConfigError.at("data.label_columns", columns, "two or more different columns")
        if self.config.labels is not None and list(self.config.labels) != columns:
            legal = f"null, or {columns} (data.label_columns)"
            raise ConfigError.at("data.labels", list(self.config.labels), legal)

    def read_label(self, cells: Sequence[object]) -> list[str]:
        if columns := list(self.config.label_columns):
            return [name for name, cell in zip(columns, cells, strict=True) if as_flag(cell)]
        separator = self.config.label_separator
        if separator is None:
            return self._listed(cells[0])
        if is_empty(cells[0]):
            return []
        if not isinstance(cells[0], str):
            raise CellError(f"the label is {shown(cells[0])}; legal: names with {separator!r} between them")
        return _distinct(written_name(name) for name in cells[0].split(separator) if name.strip())

    def _listed(self, cell: object) -> list[str]:
        if isinstance(cell, str):
            raise CellError(
                f"the label is the text {shown(cell)}, expected a list of names; for a text of several names "
                "set data.label_separator, for a 0/1 column for each label data.label_columns"
            )
        names = as_list([] if cell is None else cell, "label names")
        if any(map(is_empty, names)):
            raise CellError("the label is a list with an empty name; legal: names, or an empty list")
        return _distinct(map(written_name, names))

    def names_in(self, label: list[str]) -> Iterable[str]:
        return label

    def encode(self, label: list[str], ids: Mapping[str, int]) -> list[float]:
        encoded = [0.0] * len(ids)
        for name in label:
            encoded[ids[name]] = 1.0
        return encoded

    def head(self, names: Sequence[str]) -> dict[str, Any]:
        return {**super().head(names), "problem_type": "multi_label_classification"}

    def class_counts(self, labels: Any, size: int) -> Array:
        return np.asarray(np.asarray(labels).sum(axis=0), np.int64)

    def balanced_weights(self, counts: Array, rows: int) -> Array:
        """Returns, per label, the number of rows without it divided by the number with it."""
        return np.asarray((rows - counts) / counts)

    def weighted_loss(
        self, logits: "torch.Tensor", labels: "torch.Tensor", weights: "torch.Tensor"
    ) -> "torch.Tensor":
        """Applies a label's weight on the rows that have the label; on other rows it weighs 1."""
        from torch.nn.functional import binary_cross_entropy_with_logits

        return binary_cross_entropy_with_logits(logits, labels, pos_weight=weights)

    def references(self, label_ids: Array) -> Array:
        references: Array = np.asarray(label_ids, np.int64)
        return references

    def scores(self, logits: Array, label_ids: Array | None = None) -> Array:
        return np.asarray(1.0 / (1.0 + np.exp(-logits.astype(np.float64))))

    def averaged(self, logits: Sequence[Array]) -> Array:
        mean = np.mean([self.scores(one) for one in logits], axis=0).clip(TINY, 1 - 1e-15)
        return np.asarray(np.log(mean / (1 - mean)), np.float32)

    def decide(self, scores: Array) -> Array:
        decided: Array = np.asarray(np.asarray(scores) >= self.config.threshold, np.int64)
        return decided

    def metric_features(self) -> tuple[Any, Any]:
        return List(Value("float64")), List(Value("int64"))

    def default_metrics(self, names: Sequence[str]) -> list[str]:
        return ["f1_micro", "f1_macro", "f1_samples", "subset_accuracy"]

    def unwritable_name(self, names: Sequence[str]) -> str | None:
        """Returns a label name that a prediction file cannot hold: the separator is illegal in it, too."""
        separator = self.config.label_separator or SEPARATOR
        joined = () if self.config.label_columns else names
        return super().unwritable_name(names) or next((name for name in joined if separator in name), None)

    def answers(
        self, logits: Array, rows: Dataset, names: Sequence[str]
    ) -> tuple[list[str], Iterator[list[str]]]:
        """Returns predictions in the form of the table: one 0/1 column per label, or one text."""
        decided = self.decide(self.scores(logits))  # [rows, labels]
        if self.config.label_columns:
            return list(names), ([str(flag) for flag in row] for row in decided)
        separator = self.config.label_separator or SEPARATOR
        return ["prediction"], ([separator.join(np.asarray(names)[row == 1])] for row in decided)

    def predictions(self, logits: Array, rows: Dataset, names: Sequence[str]) -> dict[str, list[Any]]:
        decided = self.decide(self.scores(logits))  # [rows, labels]
        if self.config.label_columns:
            return {name: decided[:, label].tolist() for label, name in enumerate(names)}
        return {"prediction": [np.asarray(names)[row == 1].tolist() for row in decided]}


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
