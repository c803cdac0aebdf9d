"""Reads the user's own rows from one file (the split "train"), or from a folder with one file per split."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from finesweep.config.run import DataConfig
from finesweep.data.readers import kind, read_table, table_files
from finesweep.data.rows import Column, decimal_points, read_column, settle_empty, whole_characters
from finesweep.data.source import Source, make_dataset
from finesweep.data.table_file import Request, TableFile
from finesweep.errors import ConfigError, DataError
from finesweep.tasks.base import Task


class Tables(Source):
    """Reads `DIR/<split>.<csv|tsv|jsonl|json|parquet|arrow|conll>`, one such file, or saved datasets."""

    label_names = None

    def __init__(self, config: DataConfig, path: Path, task: Task) -> None:
        self._config, self._task = config, task
        self._files = table_files(path)
        self.names = sorted(self._files, key=lambda name: (name != "train", name))
        self.notes: list[str] = []
        self._rows: dict[str, list[int]] = {}  # split -> index in its file of each row
        self._declared: dict[str, list[str] | None] = {}
        first = self.names[0]
        self.hint = (
            f"{config.path} has only {', '.join(self.names)}. To make two splits of one: "
            f"'data.train_split=\"{first}[:80%]\"' 'data.eval_split=\"{first}[80%:]\"', "
            f"or data.train_split={first} data.holdout=0.2"
        )
        if config.delimiter is not None and not any(kind(file) == ".csv" for file in self._files.values()):
            raise ConfigError.at("data.delimiter", config.delimiter, "null, for there is no CSV file")

    def where(self, split: str) -> str:
        return str(self._files[split])

    def place(self, split: str, row: int) -> str:
        return super().place(split, self._rows[split][row])

    def declared_names(self, split: str) -> Sequence[str] | None:
        return self._declared.get(split)

    def read(self, split: str, *, labelled: bool) -> Dataset:
        task, config = self._task, self._config
        table = read_table(self._files[split], Request([*config.text_columns, *task.label_columns], config))
        texts = [self._texts(table, name) for name in config.text_columns]
        labels = self._labels(table) if labelled else None
        if labels is not None and task.is_pretokenized:
            _check_lengths(table, texts[0].values, labels.values)
        kept = settle_empty(table, texts, labels, config.empty, task.blank_text)
        self._rows[split] = kept
        self._declared[split] = table.class_names.get(config.label_column)
        self.notes += [note for note in table.notes if note not in self.notes]
        return make_dataset(
            {name: _only(kept, column) for name, column in zip(config.text_columns, texts, strict=True)},
            None if labels is None else _only(kept, labels),
            task.label_feature,
            task.text_feature,
        )

    def _texts(self, table: TableFile, name: str) -> Column:
        cells = whole_characters(table, name, table.column("text_columns", name))
        return read_column(table, f"column {name!r}", cells, self._task.read_text)

    def _labels(self, table: TableFile) -> Column:
        task, key = self._task, "label_columns" if self._config.label_columns else "label_column"
        columns = [whole_characters(table, name, table.column(key, name)) for name in task.label_columns]
        if not task.has_names:
            name = task.label_columns[0]
            columns = [decimal_points(table, name, columns[0], self._config.decimal)]
        return read_column(table, "the label", list(zip(*columns, strict=True)), task.read_label)


def _only(rows: list[int], column: Column) -> list[Any]:
    return [column.values[row] for row in rows]


def _check_lengths(table: TableFile, words: list[list[str] | None], tags: list[list[str] | None]) -> None:
    """Raises: DataError for a row whose numbers of words and tags differ."""
    for row, (row_words, row_tags) in enumerate(zip(words, tags, strict=True)):
        if row_words is not None and row_tags is not None and len(row_words) != len(row_tags):
            problem = f"{len(row_words)} words and {len(row_tags)} tags; expected a tag for each word"
            raise DataError(f"{table.place(row)}: {problem}")
