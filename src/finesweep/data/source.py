"""The contract of a data source: named splits, each read only when it is needed."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, Value

LABEL = "label"
TEXT, ID, SCORE = Value("string"), Value("int64"), Value("float32")


class Source(ABC):
    """A source of rows: GLUE's files, GLUE on the hub, a person's tables, or the demo."""

    names: Sequence[str]  # of the splits
    label_names: Sequence[str] | None  # ordered by id; None: labels are numbers, or only the rows tell
    hint: str = ""  # advice for an error about an unknown split
    notes: Sequence[str] = ()  # what was guessed, replaced or left out in the splits read so far

    def find(self, name: str) -> str | None:
        """Returns the split of this name, also if the source has it under a similar name; None if not."""
        return name if name in self.names else None

    @abstractmethod
    def where(self, split: str) -> str:
        """Names the place of a split's rows, for messages."""

    @abstractmethod
    def read(self, split: str, *, labelled: bool) -> Dataset:
        """Reads all rows of a split: its text columns and, if `labelled`, "label".

        "label" holds ids if the source has `label_names`, else names or numbers.

        Raises:
            DataError: the rows are missing or cannot be read, or have no label.
        """

    def place(self, split: str, row: int) -> str:
        """Names the place of a row that `read` returned; `row` counts from 0, messages from 1."""
        return f"{self.where(split)}, row {row + 1}"

    def cells(self, split: str, column: str) -> Sequence[Any] | None:
        """Returns the cells of any column of a split, after `read`; None if there is no such column."""
        return None

    def declared_names(self, split: str) -> Sequence[str] | None:
        """Returns the label names that a split's file declares by itself, ordered by id, after `read`."""
        return None


def make_dataset(
    text: Mapping[str, list[Any]], labels: Sequence[Any] | None, label: Any, text_feature: Any = TEXT
) -> Dataset:
    """Makes an in-memory dataset of text columns and, unless `labels` is None, a column "label".

    label, text_feature: the `datasets` features of a label and of a text.
    """
    columns: dict[str, Any] = dict(text)
    features = dict.fromkeys(text, text_feature)
    if labels is not None:
        columns[LABEL] = labels
        features[LABEL] = label
    return Dataset.from_dict(columns, features=Features(features))


def at_line(path: Path, line: int) -> str:
    """Names a place in a text file, for messages: `FILE, line N`."""
    return f"{path}, line {line}"
