"""The contract of a data source: named splits, each read only when it is needed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from datasets import Dataset, Features, Value

LABEL = "label"
TEXT, ID, SCORE = Value("string"), Value("int64"), Value("float32")


class Source(Protocol):
    """A source of rows: GLUE's files, GLUE on the hub, a person's tables, or the demo."""

    @property
    def names(self) -> Sequence[str]:
        """The splits that can be asked for."""

    @property
    def label_names(self) -> Sequence[str] | None:
        """The labels' names in the order of their ids; None for a score, or if the rows are to be asked."""

    @property
    def hint(self) -> str:
        """What to do when another split is asked for; may be empty."""

    def where(self, split: str) -> str:
        """Where a split's rows lie, for messages."""

    def read(self, split: str, *, labelled: bool) -> Dataset:
        """Reads all rows of a split: its text columns and, if `labelled`, "label".

        "label" holds ids where the source has `label_names`, else labels by name, or numbers.

        Raises:
            DataError: the rows are not there or cannot be read, or have no label.
        """


def make_dataset(
    text: Mapping[str, list[Any]], labels: Sequence[Any] | None, label: Any, text_feature: Any = TEXT
) -> Dataset:
    """Makes an in-memory dataset of text columns and, unless `labels` is None, "label".

    label, text_feature: features of `datasets`, the former of a label, the latter of a text.
    """
    columns: dict[str, Any] = dict(text)
    features = dict.fromkeys(text, text_feature)
    if labels is not None:
        columns[LABEL] = labels
        features[LABEL] = label
    return Dataset.from_dict(columns, features=Features(features))


def at_line(path: Path, line: int) -> str:
    """`FILE, line N`: how every message names a place in a text file."""
    return f"{path}, line {line}"
