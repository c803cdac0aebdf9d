"""The user's own rows: one file (the split "train"), or a folder with a file per split."""

import math
from pathlib import Path
from typing import Any

from datasets import Dataset

from finesweep.config.run import DataConfig, ProblemType
from finesweep.data.source import make_dataset
from finesweep.data.table_file import EXTENSIONS, TableFile, read_table
from finesweep.errors import ConfigError, DataError

_ALIASES = {"dev": "validation"}


class Tables:
    """`DIR/<split>.<csv|tsv|jsonl|json|parquet>`, or one such file."""

    label_names = None

    def __init__(self, config: DataConfig, path: Path) -> None:
        self._config = config
        self._files = _files(path)
        self.names = sorted(self._files, key=lambda name: (name != "train", name))

    @property
    def hint(self) -> str:
        """How to go on with the splits there are."""
        one = self.names[0]
        return (
            f"{self._config.path} holds only {', '.join(self.names)}. To make two of one: "
            f"'data.train_split=\"{one}[:80%]\"' 'data.eval_split=\"{one}[80%:]\"', "
            f"or data.train_split={one} data.holdout=0.2 data.eval_split=null"
        )

    def where(self, split: str) -> str:
        return str(self._files[split])

    def read(self, split: str, *, labelled: bool) -> Dataset:
        config = self._config
        table = read_table(self._files[split])
        text = {name: self._texts(table, name) for name in config.text_columns}
        if not labelled:
            return make_dataset(text, None, "string")
        cells = self._column(table, "label_column", config.label_column)
        if config.problem_type is ProblemType.regression:
            scores = [_number(table, row, cell) for row, cell in enumerate(cells)]
            return make_dataset(text, scores, "float32")
        return make_dataset(text, [_name(table, row, cell) for row, cell in enumerate(cells)], "string")

    def _texts(self, table: TableFile, name: str) -> list[str]:
        cells = self._column(table, "text_columns", name)
        for row, cell in enumerate(cells):
            if not isinstance(cell, str):
                problem = "is empty" if _is_null(cell) else f"is {cell!r}, expected text"
                raise DataError(f"{table.place(row)}: column {name!r} {problem}")
        return cells

    def _column(self, table: TableFile, key: str, name: str) -> list[Any]:
        if name not in table.columns:
            have = ", ".join(table.columns)
            raise ConfigError(f"data.{key}: no column {name!r} in {table.path}; it has: {have}")
        return table.columns[name]


def _files(path: Path) -> dict[str, Path]:
    """Split name -> file."""
    legal = ", ".join(EXTENSIONS)
    if path.is_file():
        if path.suffix.lower() not in EXTENSIONS:
            raise DataError(f"data.path: {path} is of an unknown kind; known: {legal}")
        return {"train": path}
    if not path.is_dir():
        raise DataError(f"data.path: {path} is not there; expected a file ({legal}) or a folder of them")
    files: dict[str, Path] = {}
    for file in sorted(path.iterdir()):
        if file.suffix.lower() in EXTENSIONS and file.is_file():
            split = _ALIASES.get(file.stem, file.stem)
            if split in files:
                raise DataError(f"data.path: two files for the split {split!r}: {files[split]} and {file}")
            files[split] = file
    if not files:
        raise DataError(f"data.path: {path} holds no table; expected train.csv or another of {legal}")
    return files


def _is_null(cell: object) -> bool:
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def _name(table: TableFile, row: int, cell: object) -> str:
    """The label's name; 1.0 is 1, for pandas makes floats of integers where one is missing."""
    if _is_null(cell):
        raise DataError(f"{table.place(row)}: the label is empty")
    if isinstance(cell, float):
        if not cell.is_integer():
            raise DataError(
                f"{table.place(row)}: the label is {cell}, no name and no integer; for scores set "
                "data.problem_type=regression"
            )
        return str(int(cell))
    if isinstance(cell, str | bool | int):
        return str(cell)
    raise DataError(f"{table.place(row)}: the label is {cell!r}; legal: text, an integer, true or false")


def _number(table: TableFile, row: int, cell: Any) -> float:
    try:
        number = float("nan" if cell is None or isinstance(cell, bool) else cell)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{table.place(row)}: the label is {cell!r}; legal for regression: a finite number")
    return number
