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
        """The names of the splits."""

    @property
    def label_names(self) -> Sequence[str] | None:
        """The label names, ordered by id; None if labels are numbers, or if only the rows tell the names."""

    @property
    def hint(self) -> str:
        """Advice for an error about an unknown split; may be empty."""

    def where(self, split: str) -> str:
        """Names the place of a split's rows, for messages."""

    def read(self, split: str, *, labelled: bool) -> Dataset:
        """Reads all rows of a split: its text columns and, if `labelled`, "label".

        "label" holds ids if the source has `label_names`, else names or numbers.

        Raises:
            DataError: the rows are missing or cannot be read, or have no label.
        """


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
