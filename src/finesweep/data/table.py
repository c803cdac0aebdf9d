"""Reads the user's own rows from one file (the split "train"), or from a folder with one file per split."""

from pathlib import Path
from typing import Any

from datasets import Dataset

from finesweep.config.run import DataConfig
from finesweep.data.source import make_dataset
from finesweep.data.table_file import EXTENSIONS, TableFile, read_table
from finesweep.errors import ConfigError, DataError
from finesweep.tasks.base import Task
from finesweep.tasks.cells import CellError

_ALIASES = {"dev": "validation"}  # file name -> split name


class Tables:
    """Reads `DIR/<split>.<csv|tsv|jsonl|json|parquet|conll>`, or one such file."""

    label_names = None

    def __init__(self, config: DataConfig, path: Path, task: Task) -> None:
        self._config, self._task = config, task
        self._files = _files(path)
        self.names = sorted(self._files, key=lambda name: (name != "train", name))

    @property
    def hint(self) -> str:
        """Advice for an error about an unknown split."""
        first = self.names[0]
        return (
            f"{self._config.path} has only {', '.join(self.names)}. To make two splits of one: "
            f"'data.train_split=\"{first}[:80%]\"' 'data.eval_split=\"{first}[80%:]\"', "
            f"or data.train_split={first} data.holdout=0.2 data.eval_split=null"
        )

    def where(self, split: str) -> str:
        return str(self._files[split])

    def read(self, split: str, *, labelled: bool) -> Dataset:
        task = self._task
        table = read_table(self._files[split])
        text = {name: self._texts(table, name) for name in self._config.text_columns}
        labels = self._labels(table) if labelled else None
        if labels is not None and task.is_pretokenized:
            _check_lengths(table, text[self._config.text_columns[0]], labels)
        return make_dataset(text, labels, task.label_feature, task.text_feature)

    def _texts(self, table: TableFile, name: str) -> list[Any]:
        texts = []
        for row, cell in enumerate(self._column(table, "text_columns", name)):
            try:
                texts.append(self._task.read_text(cell))
            except CellError as error:
                raise DataError(f"{table.place(row)}: column {name!r} {error}") from None
        return texts

    def _labels(self, table: TableFile) -> list[Any]:
        key = "label_columns" if self._config.label_columns else "label_column"
        columns = [self._column(table, key, name) for name in self._task.label_columns]
        labels = []
        for row, cells in enumerate(zip(*columns, strict=True)):
            try:
                labels.append(self._task.read_label(cells))
            except CellError as error:
                raise DataError(f"{table.place(row)}: {error}") from None
        return labels

    def _column(self, table: TableFile, key: str, name: str) -> list[Any]:
        if name not in table.columns:
            known = ", ".join(table.columns)
            raise ConfigError(f"data.{key}: no column {name!r} in {table.path}; it has: {known}")
        return table.columns[name]


def _files(path: Path) -> dict[str, Path]:
    """Maps each split's name to its file."""
    legal = ", ".join(EXTENSIONS)
    if path.is_file():
        if path.suffix.lower() not in EXTENSIONS:
            raise DataError(f"data.path: {path} is of an unknown file type; known: {legal}")
        return {"train": path}
    if not path.is_dir():
        raise DataError(f"data.path: {path} does not exist; expected a file ({legal}) or a folder of them")
    files: dict[str, Path] = {}
    for file in sorted(path.iterdir()):
        if file.suffix.lower() in EXTENSIONS and file.is_file():
            split = _ALIASES.get(file.stem, file.stem)
            if split in files:
                raise DataError(f"data.path: two files for the split {split!r}: {files[split]} and {file}")
            files[split] = file
    if not files:
        raise DataError(f"data.path: {path} holds no table; expected files such as train.csv; legal: {legal}")
    return files


def _check_lengths(table: TableFile, words: list[list[str]], tags: list[list[str]]) -> None:
    """Raises: DataError for a row whose numbers of words and tags differ."""
    for row, (row_words, row_tags) in enumerate(zip(words, tags, strict=True)):
        if len(row_words) != len(row_tags):
            problem = f"{len(row_words)} words and {len(row_tags)} tags; expected a tag for each word"
            raise DataError(f"{table.place(row)}: {problem}")
