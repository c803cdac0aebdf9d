"""Reads the user's own rows from one file (the split "train"), or from a folder with one file per split."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset

from finesweep.config.run import DataConfig
from finesweep.data.readers import read_table
from finesweep.data.rows import Column, decimal_points, read_column, settle_empty, whole_characters
from finesweep.data.source import Source, make_dataset
from finesweep.data.table_file import Request, TableFile, places_of
from finesweep.data.table_files import TableFiles
from finesweep.errors import ConfigError, DataError
from finesweep.tasks.base import Task


@dataclass(frozen=True)
class Rows:
    """The rows of one table that are used."""

    path: Path
    indices: list[int]  # of each row in the file
    texts: dict[str, list[Any]]
    labels: list[Any] | None
    declared: list[str] | None  # the label names that the file declares


def read_rows(table: TableFile, config: DataConfig, task: Task, *, labelled: bool) -> Rows:
    """Reads texts and, if `labelled`, labels from the cells of a table.

    Side effect: notes in `table.notes` what it changes or leaves out. Raises: DataError, ConfigError.
    """
    texts = [_texts(table, name, task) for name in config.text_columns]
    labels = _labels(table, config, task) if labelled else None
    if labels is not None and task.is_pretokenized:
        _check_lengths(table, texts[0].values, labels.values)
    kept = settle_empty(table, texts, labels, config.empty, task.blank_text)
    return Rows(
        table.path,
        kept,
        {name: _only(kept, column) for name, column in zip(config.text_columns, texts, strict=True)},
        None if labels is None else _only(kept, labels),
        table.class_names.get(config.label_column),
    )


def _texts(table: TableFile, name: str, task: Task) -> Column:
    cells = whole_characters(table, name, table.column("text_columns", name))
    return read_column(table, f"column {name!r}", cells, task.read_text)


def _labels(table: TableFile, config: DataConfig, task: Task) -> Column:
    key = "label_columns" if config.label_columns else "label_column"
    columns = [whole_characters(table, name, table.column(key, name)) for name in task.label_columns]
    if not task.has_names:
        name = task.label_columns[0]
        columns = [decimal_points(table, name, columns[0], config.decimal)]
    return read_column(table, "the label", list(zip(*columns, strict=True)), task.read_label)


class Tables(Source):
    """Reads `DIR/<split>.<csv|tsv|jsonl|json|parquet|arrow|conll>`, one such file, or saved datasets."""

    label_names = None

    def __init__(self, config: DataConfig, path: Path, task: Task) -> None:
        self._config, self._task = config, task
        self._files = TableFiles(path)
        self.names = self._files.names
        self.notes: list[str] = []
        self._read: dict[str, list[Rows]] = {}  # split -> the rows of each of its files
        first = self.names[0]
        self.hint = (
            f"{config.path} has only {', '.join(self.names)}. To make two splits of one: "
            f"'data.train_split=\"{first}[:80%]\"' 'data.eval_split=\"{first}[80%:]\"', "
            f"or data.train_split={first} data.holdout=0.2"
        )
        if config.delimiter is not None and not self._files.has(".csv"):
            raise ConfigError.at("data.delimiter", config.delimiter, "null, for there is no CSV file")

    def find(self, name: str) -> str | None:
        found = self._files.find(name)
        if found not in (name, None):
            self._note([f"there is no split {name!r}; that of {self.where(str(found))} is taken for it"])
        return found

    def where(self, split: str) -> str:
        first, *others = self._files.of(split)
        return f"{first} and {len(others)} more" if others else str(first)

    def place(self, split: str, row: int) -> str:
        for part in self._read[split]:
            if row < len(part.indices):
                return f"{part.path}, row {part.indices[row] + 1}"
            row -= len(part.indices)
        raise IndexError(f"{split} has no row {row}")

    def declared_names(self, split: str) -> Sequence[str] | None:
        first, *others = [part.declared for part in self._read[split]]
        return first if all(names == first for names in others) else None

    def cells(self, split: str, column: str) -> list[Any] | None:
        found: list[Any] = []
        for part in self._read[split]:
            table = read_table(part.path, Request([column], self._config))
            if not places_of(column, table.names):
                return None
            cells = table.column("submission.template", column)
            found += [cells[row] for row in part.indices]
        return found

    def read(self, split: str, *, labelled: bool) -> Dataset:
        parts = [self._read_file(file, labelled) for file in self._files.of(split)]
        self._read[split] = parts
        texts = {
            name: [cell for part in parts for cell in part.texts[name]] for name in self._config.text_columns
        }
        labels = [label for part in parts for label in part.labels or ()] if labelled else None
        return make_dataset(texts, labels, self._task.label_feature, self._task.text_feature)

    def _read_file(self, file: Path, labelled: bool) -> Rows:
        task, config = self._task, self._config
        table = read_table(file, Request([*config.text_columns, *task.label_columns], config))
        rows = read_rows(table, config, task, labelled=labelled)
        self._note(table.notes)
        return rows

    def _note(self, notes: list[str]) -> None:
        self.notes += [note for note in notes if note not in self.notes]


def _only(rows: list[int], column: Column) -> list[Any]:
    return [column.values[row] for row in rows]


def _check_lengths(table: TableFile, words: list[list[str] | None], tags: list[list[str] | None]) -> None:
    """Raises: DataError for a row whose numbers of words and tags differ."""
    for row, (row_words, row_tags) in enumerate(zip(words, tags, strict=True)):
        if row_words is not None and row_tags is not None and len(row_words) != len(row_tags):
            problem = f"{len(row_words)} words and {len(row_tags)} tags; expected a tag for each word"
            raise DataError(f"{table.place(row)}: {problem}")
