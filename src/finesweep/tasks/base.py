"""The contract of a task type.

A task type is one subclass of `Task` in a file of its own. It defines everything that differs between types:
what a row's label is, which model learns it, how outputs become predictions, which metrics score them, and
what a prediction file contains. `tests/tasks/test_contract.py` tests every type against this contract.
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
TINY = 1e-30  # a probability whose logarithm is still a number
SEQUENCE_MODEL = "AutoModelForSequenceClassification"


class Task(ABC):
    """A task type with the config of its data. Torch and transformers are imported only for training."""

    problem_type: ClassVar[ProblemType]
    model_class: ClassVar[str] = SEQUENCE_MODEL  # a class of transformers
    metrics: ClassVar[Mapping[str, Metric]]  # by their names in data.metric
    is_pretokenized: ClassVar[bool] = False  # whether a row's text is a list of words
    has_names: ClassVar[bool] = True  # whether labels are names, not numbers
    has_probabilities: ClassVar[bool] = False  # whether scores are probabilities, one for each label
    stratifies: ClassVar[bool] = False  # whether a hold-out takes its share from each label's rows
    blank_text: Any = ""  # a text without words
    text_feature: Any = Value("string")  # the `datasets` feature of a text
    label_feature: Any  # the feature of a label as read: names, or a number
    id_feature: Any  # the feature of a label as the model learns it: ids, or a number

    def __init__(self, config: DataConfig) -> None:
        self.config = config

    # Reading the user's own table

    @property
    def label_columns(self) -> list[str]:
        """The table columns that hold a row's label."""
        return [self.config.label_column]

    def read_text(self, cell: object) -> Any:
        """Reads a row's text from one cell. Raises: CellError."""
        return as_text(cell)

    @abstractmethod
    def read_label(self, cells: Sequence[object]) -> Any:
        """Reads one row's label from its cells in `label_columns`. Raises: CellError."""

    @abstractmethod
    def names_in(self, label: Any) -> Iterable[str]:
        """Returns the names that a label, as read, consists of; none for a number."""

    @abstractmethod
    def encode(self, label: Any, ids: Mapping[str, int]) -> Any:
        """Encodes a label, as read, for the model. ids: name -> id. Raises: KeyError for an unknown name."""

    def check_config(self) -> None:
        """Checks the keys of `data`. Raises: ConfigError for a key of another task type."""
        legal = f"null for data.problem_type={self.problem_type.value}"
        if self.config.label_columns:
            raise ConfigError.at("data.label_columns", list(self.config.label_columns), f"[], {legal}")
        if self.config.label_separator is not None:
            raise ConfigError.at("data.label_separator", self.config.label_separator, legal)
        if self.config.threshold != DataConfig.threshold:
            unused = f"{DataConfig.threshold}, the default; {self.problem_type.value} uses no threshold"
            raise ConfigError.at("data.threshold", self.config.threshold, unused)

    # Training

    def head(self, names: Sequence[str]) -> dict[str, Any]:
        """Returns the model config's settings for the output layer: the number and names of outputs."""
        return {
            "num_labels": len(names),
            "id2label": dict(enumerate(names)),
            "label2id": {name: index for index, name in enumerate(names)},
        }

    @property
    def is_standardized(self) -> bool:
        """Whether the model learns numbers in another unit than that of the data."""
        return False

    def fitted(self, labels: Any) -> Task:
        """Returns the task with what it takes from the encoded labels of the training rows."""
        return self

    def restored(self, model_config: Mapping[str, Any]) -> Task:
        """Returns the task with what `head` wrote into a model's config.json."""
        return self

    def learned(self, rows: Dataset) -> Dataset:
        """Returns encoded rows with "labels" as the model learns them."""
        return rows

    def collator(self, tokenizer: PreTrainedTokenizerBase) -> Any:
        """Returns the data collator, which pads rows to a batch."""
        from transformers import DataCollatorWithPadding

        return DataCollatorWithPadding(tokenizer)

    def class_counts(self, labels: Any, size: int) -> Array:
        """Counts how often each of `size` labels occurs. `labels`: the encoded column. Returns [size] int64.

        Raises: ConfigError if the type has no class weights.
        """
        raise ConfigError.at(
            "data.class_weights", self.config.class_weights, f"null for {self.problem_type.value}"
        )

    def balanced_weights(self, counts: Array, rows: int) -> Array:
        """Returns weights [labels] with which every label has the same share of the loss."""
        return np.asarray(counts.sum() / (len(counts) * counts))

    def weighted_loss(
        self, logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        """Returns the batch's mean of each row's loss times its label's weight. weights: [labels]."""
        raise NotImplementedError(f"{self.problem_type.value} has no class weights")

    # Scoring

    def references(self, label_ids: Array) -> Any:
        """Converts a batch of labels to the form that metrics take. label_ids: as padded by the collator."""
        return label_ids

    @abstractmethod
    def scores(self, logits: Array, label_ids: Array | None = None) -> Any:
        """Converts logits to scores: probabilities [rows, labels] float64, numbers [rows], or tag ids.

        logits: [rows, outputs] float32, or [rows, tokens, tags] for tokens. label_ids: the padded labels,
        which tell a token task which tokens count; other types ignore them.
        """

    @abstractmethod
    def decide(self, scores: Any) -> Any:
        """Converts scores to predictions: ids or numbers [rows], 0/1 [rows, labels], or lists of tag ids."""

    @abstractmethod
    def metric_features(self) -> tuple[Any, Any]:
        """Returns the `datasets` features of one row's scores and of one row's true label, for `evaluate`."""

    @abstractmethod
    def default_metrics(self, names: Sequence[str]) -> list[str]:
        """Names the metrics that every run of this type logs in addition to `data.metric`."""

    def misfit(self, metric: str, names: Sequence[str]) -> str | None:
        """Explains why a metric of this type cannot score these labels; None if it can.

        Raises: ConfigError for an illegal `data.positive_label`.
        """
        return None

    def positive_id(self, names: Sequence[str]) -> int | None:
        """Returns the id of the label that binary metrics such as `f1` score; None if there is none."""
        return None

    def extra_scores(self, predicted: Any, reference: Any, names: Sequence[str]) -> dict[str, float]:
        """Computes scores whose names depend on the labels, such as the F1 of each entity type."""
        return {}

    def averaged(self, logits: Sequence[Array]) -> Array:
        """Returns outputs that stand for the mean of several models' probabilities, or numbers."""
        mean = np.mean([softmax(one) for one in logits], axis=0)
        return np.asarray(np.log(mean.clip(TINY)), np.float32)

    # Predicting

    def unwritable_name(self, names: Sequence[str]) -> str | None:
        """Returns a label name that a prediction file cannot hold; None if it can hold all of them."""
        broken = (name for name in names if re.search(r"[\t\r\n]", name))
        return next(broken, None)

    @abstractmethod
    def answers(
        self, logits: Array, rows: Dataset, names: Sequence[str]
    ) -> tuple[list[str], Iterator[list[str]]]:
        """Returns the content of a prediction file: the columns after `index`, and the cells of each row.

        logits: the outputs for `rows`, in the same order. rows: the encoded test split.
        """

    def predictions(self, logits: Array, rows: Dataset, names: Sequence[str]) -> dict[str, list[Any]]:
        """Returns the same answers for a program, by column: names, numbers, lists of names, or 0/1."""
        header, cells = self.answers(logits, rows, names)
        return {name: list(column) for name, column in zip(header, zip(*cells, strict=True), strict=True)}

    def probabilities(self, logits: Array, rows: Dataset, names: Sequence[str]) -> dict[str, list[Any]]:
        """Returns each row's probability of each label, by column; nothing for a type without any."""
        if not self.has_probabilities:
            return {}
        scores = self.scores(logits)  # [rows, labels]
        return {f"probability_{name}": scores[:, label].tolist() for label, name in enumerate(names)}


def softmax(logits: Array) -> Array:
    """Computes probabilities over the last axis, float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    exponents = np.exp(shifted)
    return np.asarray(exponents / exponents.sum(axis=-1, keepdims=True))


def in_order(names: Iterable[str]) -> list[str]:
    """Sorts names; as numbers if all of them are integers, so that 2 comes before 10."""
    try:
        return sorted(names, key=int)
    except ValueError:
        return sorted(names)
