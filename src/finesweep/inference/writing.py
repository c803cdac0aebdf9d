"""Writes predictions as CSV, TSV, JSON lines or parquet, by the suffix of the file; whole or not at all."""

import csv
import io
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from finesweep.errors import ConfigError, DataError, OutputError
from finesweep.inference.predictions import Predictions
from finesweep.io.atomic import staged
from finesweep.io.output import can_write, user

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")


def suffix_of(template: str) -> str:
    """Returns the suffix of a sample, which the output has too. Raises: ConfigError for one without it."""
    if not (suffix := Path(template).suffix.lower()):
        raise ConfigError.at("--template", template, "a file with a suffix, such as sample_submission.csv")
    return suffix


def check_target(path: Path, overwrite: bool, legal: tuple[str, ...] = SUFFIXES) -> None:
    """Raises: OutputError for a file that cannot, or may not, be written; before anything is computed."""
    if path.suffix.lower() not in legal:
        raise OutputError(f"--out: got {path}; legal: a file that ends with {', '.join(legal)}")
    if path.is_dir() or (path.exists() and not overwrite):
        problem = "is a folder; legal: a file" if path.is_dir() else "exists already; --overwrite replaces it"
        raise OutputError(f"--out: {path} {problem}")
    if not can_write(path.parent):
        raise OutputError(f"--out: user {user()} cannot write {path.parent}; legal: another folder")


def write(predictions: Predictions, path: Path) -> None:
    """Writes `path`, and the folder that it is in. Raises: OutputError; DataError for what it cannot hold."""
    text = predictions.submission
    content = text.encode() if text is not None else _WRITERS[path.suffix.lower()](predictions)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with staged(path) as staging:
            staging.write_bytes(content)
    except OSError as error:
        raise OutputError(f"--out: {path}: cannot be written: {error.strerror or error}") from error


def _csv(predictions: Predictions) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(_cells(predictions))
    return text.getvalue().encode()


def _tsv(predictions: Predictions) -> bytes:
    """Raises: DataError for a cell with a tab or a line break: fields of a TSV file are not quoted."""
    lines = list(_cells(predictions))
    for number, line in enumerate(lines):
        for name, cell in zip(lines[0], line, strict=True):
            if any(mark in cell for mark in "\t\r\n"):
                raise DataError(
                    f"row {number}: column {name!r} holds a tab or a line break, which a TSV file cannot; "
                    "legal: --out with .csv, .jsonl or .parquet, or columns without it: --keep NAME"
                )
    return "".join("\t".join(line) + "\n" for line in lines).encode()


def _cells(predictions: Predictions) -> Iterator[list[str]]:
    """Yields the header, then each row as texts; predictions as a run's own prediction file has them."""
    columns = predictions.columns
    yield list(columns)
    kept = [columns[name] for name in columns if name not in predictions.answers | predictions.probabilities]
    shares = list(predictions.probabilities.values())
    for row, answers in enumerate(predictions.written):
        yield [
            *(_text(column[row]) for column in kept),
            *answers,
            *(_share(column[row]) for column in shares),
        ]


def _text(cell: Any) -> str:
    if _is_nothing(cell):
        return ""
    return json.dumps(cell, ensure_ascii=False, default=str) if isinstance(cell, (list, dict)) else str(cell)


def _is_nothing(cell: Any) -> bool:
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def _share(value: Any) -> str:
    if isinstance(value, list):
        return " ".join("nan" if item is None else f"{item:.6g}" for item in value)
    return f"{value:.6g}"


def _jsonl(predictions: Predictions) -> bytes:
    columns = predictions.columns
    rows = (
        {name: None if _is_nothing(cell) else cell for name, cell in zip(columns, cells, strict=True)}
        for cells in zip(*columns.values(), strict=True)
    )
    return "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows).encode()


def _parquet(predictions: Predictions) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    try:
        pq.write_table(pa.table(predictions.columns), buffer)
    except (pa.ArrowException, OverflowError) as error:
        raise DataError(
            f"the columns to keep cannot be written as parquet: {error}; legal: --out with .jsonl, or other "
            "columns: --keep NAME"
        ) from error
    return buffer.getvalue()


_WRITERS: dict[str, Callable[[Predictions], bytes]] = dict(
    zip(SUFFIXES, (_csv, _tsv, _jsonl, _parquet), strict=True)
)
