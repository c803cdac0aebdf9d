"""Reads Arrow tables: parquet and arrow files, and folders that `Dataset.save_to_disk` wrote."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Dataset, Features, List, load_from_disk

from finesweep.data.table_file import Request, TableFile, places_of
from finesweep.errors import DataError, first_line

SAVED_SPLIT, SAVED_SPLITS = "dataset_info.json", "dataset_dict.json"  # files of `save_to_disk`
NO_LABEL = -1  # the id that `datasets` gives to a row without a label


def read_parquet(path: Path, request: Request) -> TableFile:
    """Reads a parquet file. Raises: DataError if it is none."""
    try:
        # `read_table` would take the name of a folder, `lang=de`, for a column.
        table = pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable parquet file: {error}") from error
    return _table(path, table, request)


def read_arrow(path: Path, request: Request) -> TableFile:
    """Reads an Arrow file, in the file or the stream format. Raises: DataError if it is neither."""
    try:
        with pa.memory_map(str(path)) as source:
            try:
                table = pa.ipc.open_file(source).read_all()
            except pa.ArrowInvalid:
                source.seek(0)
                table = pa.ipc.open_stream(source).read_all()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Arrow file: {error}") from error
    return _table(path, table, request)


def read_saved(path: Path, request: Request) -> TableFile:
    """Reads one dataset that `save_to_disk` wrote. Raises: DataError if files are damaged or missing."""
    try:
        rows = load_from_disk(str(path))
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise DataError(f"{path}: not a whole folder of Dataset.save_to_disk: {error}") from error
    assert isinstance(rows, Dataset)
    table = rows.with_format("arrow")[:]
    return _table(path, table.replace_schema_metadata(rows.features.arrow_schema.metadata), request)


def _table(path: Path, table: pa.Table, request: Request) -> TableFile:
    features, notes = _features(path, table)
    columns, class_names = {}, {}
    for name in request.columns:
        places = places_of(name, table.column_names)
        if len(places) != 1:
            continue
        columns[name] = table.column(places[0]).to_pylist()
        feature = features.get(table.column_names[places[0]])
        kind = feature.feature if isinstance(feature, List) else feature
        if isinstance(kind, ClassLabel) and kind.names:
            class_names[name] = list(kind.names)
            columns[name] = [_named(path, cell, kind.names) for cell in columns[name]]
    return TableFile(path, table.column_names, columns, None, notes, class_names=class_names)


def _features(path: Path, table: pa.Table) -> tuple[dict[str, Any], list[str]]:
    """Returns the features by column, and a note for people if the file has some that cannot be read."""
    try:
        return dict(Features.from_arrow_schema(table.schema)), []
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # of another `datasets` version
        note = f"{path}: class names in it, if any, are left out: its features are of another `datasets`"
        return {}, [f"{note} ({type(error).__name__}: {first_line(error)})"]


def _named(path: Path, cell: Any, names: list[str]) -> Any:
    """Returns the name of a class id, or of each id of a list; None for a row without a label."""
    if isinstance(cell, list):
        return [_named(path, item, names) for item in cell]
    if cell is None or cell == NO_LABEL:
        return None
    if not 0 <= cell < len(names):
        raise DataError(f"{path}: a class id is {cell}, but its column has {len(names)} class names")
    return names[cell]
