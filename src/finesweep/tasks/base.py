"""The contract of a task type.

A task type is one subclass of `Task` in a file of its own. It answers every question whose answer differs
from
type to type: what a row's label is, which model learns it, how outputs become predictions, which metrics
score them, and what a prediction file says. `tests/tasks/test_contract.py` holds the promises of all of them.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from datasets import Dataset, Value
from numpy.typing import NDArray

from finesweep.config.run import DataConfig, ProblemType
from finesweep.errors import ConfigError
from finesweep.tasks.cells import as_text
from finesweep.tasks.metrics import Metric

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

Array = NDArray[Any]
SEQUENCE_MODEL = "AutoModelForSequenceClassification"


class Task(ABC):
    """One type of task under one data config. It imports torch and transformers only where it trains."""

    problem_type: ClassVar[ProblemType]
    model_class: ClassVar[str] = SEQUENCE_MODEL  # of transformers
    metrics: ClassVar[Mapping[str, Metric]]  # by the names that data.metric takes
    is_pretokenized: ClassVar[bool] = False  # whether a row's text is a list of words
    has_names: ClassVar[bool] = True  # whether labels are names, and no numbers
    stratifies: ClassVar[bool] = False  # whether a hold-out takes its share of each label's rows
    text_feature: Any = Value("string")  # of each text column
    label_feature: Any  # of labels as they are read: by name
    id_feature: Any  # of labels as the model learns them

    def __init__(self, config: DataConfig) -> None:
        self.config = config

    # Reading a person's own table

    @property
    def label_columns(self) -> list[str]:
        """The columns of a table that hold a row's label."""
        return [self.config.label_column]

    def read_text(self, cell: object) -> Any:
        """Raises: CellError."""
        return as_text(cell)

    @abstractmethod
    def read_label(self, cells: Sequence[object]) -> Any:
        """Reads one row's label from its cells in `label_columns`. Raises: CellError."""

    @abstractmethod
    def names_in(self, label: Any) -> Iterable[str]:
        """Gives the names that a label as read consists of; none for a number."""

    @abstractmethod
    def encode(self, label: Any, ids: Mapping[str, int]) -> Any:
        """Turns a label as read into what the model learns. `ids`: by name. Raises: KeyError for a name."""

    def check_config(self) -> None:
        """Raises: ConfigError for keys of `data` that are not for this type."""
        legal = f"null for data.problem_type={self.problem_type.value}"
        if self.config.label_columns:
            raise ConfigError.at("data.label_columns", list(self.config.label_columns), f"[], {legal}")
        if self.config.label_separator is not None:
            raise ConfigError.at("data.label_separator", self.config.label_separator, legal)

    # Training

    def head(self, names: Sequence[str]) -> dict[str, Any]:
        """Gives the settings of the model's config: how many outputs, and what they are called."""
        return {
            "num_labels": len(names),
            "id2label": dict(enumerate(names)),
            "label2id": {name: index for index, name in enumerate(names)},
        }

    def collator(self, tokenizer: PreTrainedTokenizerBase) -> Any:
        """Gives what pads rows to a batch."""
        from transformers import DataCollatorWithPadding

        return DataCollatorWithPadding(tokenizer)

    def class_counts(self, labels: Any, size: int) -> Array:
        """Counts how often each of `size` labels occurs. `labels`: the encoded column. Returns [size] int64.

        Raises: ConfigError where the type has no classes that could be weighted.
        """
        raise ConfigError.at(
            "data.class_weights", self.config.class_weights, f"null for {self.problem_type.value}"
        )

    def balanced_weights(self, counts: Array, rows: int) -> Array:
        """Gives weights [labels] under which every label has the same part in the loss."""
        return np.asarray(counts.sum() / (len(counts) * counts))

    def weighted_loss(
        self, logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        """Gives the mean over a batch of each row's loss times its label's weight. `weights`: [labels]."""
        raise NotImplementedError(f"{self.problem_type.value} has no class weights")

    # Scoring

    def references(self, label_ids: Array) -> Any:
        """Gives the true labels as metrics take them. `label_ids`: as the collator padded them."""
        return label_ids

    @abstractmethod
    def scores(self, logits: Array, label_ids: Array | None = None) -> Any:
        """Gives what metrics score: probabilities [rows, labels] float64, numbers [rows], or tag ids.

        logits: [rows, outputs] float32; of tokens [rows, tokens, tags]. label_ids: where a type needs to know
        which tokens count.
        """

    @abstractmethod
    def decide(self, scores: Any) -> Any:
        """Turns scores into predictions: ids or numbers [rows], 0/1 [rows, labels], or lists of tags."""

    @abstractmethod
    def metric_features(self) -> tuple[Any, Any]:
        """Gives the `datasets` features of one row of scores and of one true label, for `evaluate`."""

    @abstractmethod
    def default_metrics(self, names: Sequence[str]) -> list[str]:
        """Names the metrics that every run of this type logs beside its own."""

    def misfit(self, metric: str, names: Sequence[str]) -> str | None:
        """Says why a metric of this type cannot score these labels; None if it can. Raises: ConfigError."""
        return None

    def positive_id(self, names: Sequence[str]) -> int | None:
        """Gives the id of the label that binary metrics are about; None where there is none."""
        return None

    def extra_scores(self, predicted: Any, reference: Any, names: Sequence[str]) -> dict[str, float]:
        """Gives scores whose names depend on the labels, such as the F1 of each entity."""
        return {}

    # Predicting

    def unwritable_name(self, names: Sequence[str]) -> str | None:
        """Gives a name that `answers` could not write; None if there is none."""
        broken = (name for name in names if re.search(r"[\t\r\n]", name))
        return next(broken, None)

    @abstractmethod
    def answers(
        self, logits: Array, rows: Dataset, names: Sequence[str]
    ) -> tuple[list[str], Iterator[list[str]]]:
        """Gives a prediction file: the header behind `index`, and the cells of each row, in order.

        logits: of `rows`, in their order. rows: the encoded test split.
        """


def softmax(logits: Array) -> Array:
    """Gives probabilities over the last axis, float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    exponents = np.exp(shifted)
    return np.asarray(exponents / exponents.sum(axis=-1, keepdims=True))


def in_order(names: Iterable[str]) -> list[str]:
    """Sorts names, as numbers if they all are: 2 before 10."""
    try:
        return sorted(names, key=int)
    except ValueError:
        return sorted(names)
