"""Finds the table files of a path, and reads one by its kind."""

from collections.abc import Callable
from pathlib import Path

from finesweep.data.arrow_rows import SAVED_SPLIT, SAVED_SPLITS, read_arrow, read_parquet, read_saved
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
_ALIASES = {"dev": "validation"}  # file name -> split name


def read_table(path: Path, request: Request) -> TableFile:
    """Reads the used columns of a file that `table_files` found.

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


def table_files(path: Path) -> dict[str, Path]:
    """Maps the name of each split to its file, or to its folder if `Dataset.save_to_disk` wrote it.

    Raises: DataError if there is no table, or if two files have the same split's name.
    """
    legal = f"{', '.join(EXTENSIONS)}; text files also with {GZIP}"
    if path.is_file():
        if kind(path) not in EXTENSIONS:
            raise DataError(f"data.path: {path} is of an unknown file type; known: {legal}")
        return {"train": path}
    if not path.is_dir():
        raise DataError(f"data.path: {path} does not exist; expected a file ({legal}) or a folder of them")
    if (path / SAVED_SPLIT).is_file():
        return {"train": path}
    files = _by_split(_members(path))
    if not files:
        raise DataError(f"data.path: {path} holds no table; expected files such as train.csv; legal: {legal}")
    return files


def _members(folder: Path) -> list[Path]:
    """Lists the tables in a folder: saved datasets if it is a `DatasetDict`, else files."""
    if (folder / SAVED_SPLITS).is_file():
        return sorted(member for member in folder.iterdir() if (member / SAVED_SPLIT).is_file())
    return sorted(
        member
        for member in folder.iterdir()
        if kind(member) in EXTENSIONS and member.is_file() and not member.name.startswith(".")
    )


def _by_split(members: list[Path]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for file in members:
        stem = file.name if file.is_dir() else file.name[: file.name.lower().rindex(kind(file))]
        split = _ALIASES.get(stem, stem)
        if split in files:
            raise DataError(f"data.path: two files for the split {split!r}: {files[split]} and {file}")
        files[split] = file
    return files
