"""Reads a table file by its kind."""

from collections.abc import Callable
from pathlib import Path

from finesweep.data.arrow_rows import read_arrow, read_parquet, read_saved
from finesweep.data.conll import read_conll
from finesweep.data.delimited import read_csv, read_tsv_table
from finesweep.data.json_rows import read_json
from finesweep.data.table_file import Request, TableFile
from finesweep.data.text import GZIP
from finesweep.errors import DataError

_READERS: dict[str, Callable[[Path, Request], TableFile]] = {
    ".csv": read_csv,
    ".tsv": read_tsv_table,
    ".jsonl": read_json,
    ".json": read_json,
    ".parquet": read_parquet,
    ".arrow": read_arrow,
    ".conll": read_conll,
}
_BINARY = (".parquet", ".arrow")
EXTENSIONS = tuple(_READERS)


def read_table(path: Path, request: Request) -> TableFile:
    """Reads the used columns of a file, or of a folder that `Dataset.save_to_disk` wrote.

    Raises: DataError if the content does not match the suffix, or has no rows. It names the line.
    """
    table = (read_saved if path.is_dir() else _READERS[kind(path)])(path, request)
    if table.columns and table.rows() == 0 or not table.names:
        raise DataError(f"{path}: no rows")
    return table


def kind(path: Path) -> str:
    """Returns a file's suffix in lower case; the inner one of a compressed text: `.csv` for `a.csv.gz`."""
    suffix = path.suffix.lower()
    inner = Path(path.stem).suffix.lower()
    return inner if suffix == GZIP and inner not in _BINARY else suffix
