"""Reads the rows to predict, from a file or from memory, with the other columns, which are kept."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from finesweep.config.run import DataConfig
from finesweep.data.readers import EXTENSIONS, kind, read_table
from finesweep.data.source import Source, make_dataset
from finesweep.data.table import read_rows
from finesweep.data.table_file import Request, TableFile, places_of
from finesweep.errors import DataError
from finesweep.tasks import Task

SPLIT = "rows"


class NewRows(Source):
    """Rows without labels. `texts` has the text columns, `kept` the cells of the columns to be kept."""

    names, label_names = (SPLIT,), None

    def __init__(
        self, table: TableFile, config: DataConfig, task: Task, keep: Sequence[str] | None = None
    ) -> None:
        """keep: the columns to keep; None: all but the texts. Raises: ConfigError, DataError."""
        self._table = table
        rows = read_rows(table, config, task, labelled=False)
        self.texts: Dataset = make_dataset(rows.texts, None, task.label_feature, task.text_feature)
        columns = others(table.names, config.text_columns) if keep is None else list(keep)
        self.kept = {name: _column(table, name) for name in columns}
        self.notes = [*table.notes]

    def where(self, split: str) -> str:
        return str(self._table.path)

    def read(self, split: str, *, labelled: bool) -> Dataset:
        return self.texts

    def cells(self, split: str, column: str) -> Sequence[Any] | None:
        return _column(self._table, column) if places_of(column, self._table.names) else None

    def __len__(self) -> int:
        return len(self.texts)


def _column(table: TableFile, name: str) -> list[Any]:
    if not places_of(name, table.names):
        raise DataError(f"{table.path}: no column {name!r}; it has: {', '.join(filter(None, table.names))}")
    return table.column("text_columns", name)


def others(names: Sequence[str], texts: Sequence[str]) -> list[str]:
    """Returns the columns besides the texts; of columns with the same name, none."""
    used = {place for name in texts for place in places_of(name, names)}
    once = [name for place, name in enumerate(names) if place not in used and list(names).count(name) == 1]
    return [name for name in once if places_of(name, names) == [list(names).index(name)]]


def table_of_file(path: Path, config: DataConfig) -> TableFile:
    """Reads all columns of a table file. Raises: DataError for a file that is missing or no table."""
    if not path.is_dir() and (not path.is_file() or kind(path) not in EXTENSIONS):
        problem = "is of an unknown file type" if path.is_file() else "does not exist"
        raise DataError(f"{path} {problem}; expected a table: {', '.join(EXTENSIONS)}")
    names = read_table(path, Request(config.text_columns, config)).names
    wanted = [*config.text_columns, *others(names, config.text_columns)]
    return read_table(path, Request(wanted, config))


def table_of_memory(rows: Any, config: DataConfig) -> TableFile:
    """Makes a table of a DataFrame, a Dataset, a dictionary of columns, or a list of dictionaries or texts.

    Raises: DataError for anything else, and for no rows.
    """
    columns = _columns(rows, config.text_columns)
    if not columns or not max(map(len, columns.values())):
        raise DataError("rows: there are none")
    return TableFile(Path("rows"), list(columns), columns, None)


def _columns(rows: Any, texts: Sequence[str]) -> dict[str, list[Any]]:
    if hasattr(rows, "to_dict") and hasattr(rows, "columns"):  # a DataFrame
        names = [str(name) for name in rows.columns]
        if twice := [name for name in names if names.count(name) > 1]:
            raise DataError(f"rows: the column {twice[0]!r} is there more than once; rename one")
        return {str(name): rows[name].tolist() for name in rows.columns}
    if isinstance(rows, Dataset):
        return {name: list(rows[name][:]) for name in rows.column_names}
    if isinstance(rows, Mapping):
        return _of_mapping(rows)
    if isinstance(rows, Iterable) and not isinstance(rows, (str, bytes)):
        return _of_list(list(rows), texts)
    raise DataError(
        f"rows: got {type(rows).__name__}; legal: a file, a DataFrame, a Dataset, a dictionary of columns, a "
        "list of dictionaries, a list of texts"
    )


def _of_mapping(rows: Mapping[Any, Any]) -> dict[str, list[Any]]:
    for name, cells in rows.items():
        if isinstance(cells, (str, bytes, Mapping)) or not isinstance(cells, Iterable):
            raise DataError(
                f"rows: column {str(name)!r} is one {type(cells).__name__}; legal: a list of cells"
            )
    columns = {str(name): list(cells) for name, cells in rows.items()}
    if len(set(map(len, columns.values()))) > 1:
        raise DataError("rows: its columns are not equally long")
    return columns


def _of_list(rows: list[Any], texts: Sequence[str]) -> dict[str, list[Any]]:
    if all(isinstance(row, Mapping) for row in rows):
        names = dict.fromkeys(str(name) for row in rows for name in row)
        return {name: [row.get(name) for row in rows] for name in names}
    if len(texts) == 1:
        return {texts[0]: rows}
    if all(isinstance(row, Sequence) and not isinstance(row, str) and len(row) == len(texts) for row in rows):
        return {name: [row[place] for row in rows] for place, name in enumerate(texts)}
    raise DataError(f"rows: expected dictionaries, or lists of {len(texts)} texts: {', '.join(texts)}")
