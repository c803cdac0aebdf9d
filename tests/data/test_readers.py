"""Every reader gives back the cells that were written, however the file was written."""

import csv
import gzip
import io
import json
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finesweep.config.run import DataConfig
from finesweep.data.readers import read_table
from finesweep.data.table_file import Request
from finesweep.errors import DataError
from finesweep.tasks.cells import as_name

REQUEST = Request(["text", "label"], DataConfig(text_columns=["text"]))
whole = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
cells = st.text(whole, min_size=1, max_size=12).filter(str.strip)
lines = cells.filter(lambda text: not set(text) & set("\t\r\n")).map(lambda text: "a" + text)
tables = st.lists(st.tuples(cells, cells), min_size=1, max_size=5)
line_tables = st.lists(st.tuples(lines, lines), min_size=1, max_size=5)


def read(folder: Path, name: str, content: bytes, request: Request = REQUEST) -> list[tuple[Any, ...]]:
    path = folder / name
    path.write_bytes(content)
    table = read_table(path, request)
    return list(zip(*(table.columns[column] for column in request.columns), strict=True))


@given(
    tables,
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=40)
def test_csv_of_any_dialect_gives_the_cells(
    tmp_path: Path,
    rows: list[tuple[str, str]],
    delimiter: str,
    end: str,
    encoding: str,
    says: bool,
    packs: bool,
) -> None:
    file = io.StringIO(newline="")
    file.write(f"sep={delimiter}{end}" if says else "")
    writer = csv.writer(file, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([("text", " label "), *rows])
    content = file.getvalue().encode(encoding)
    name, content = ("t.csv.GZ", gzip.compress(content)) if packs else ("t.csv", content)
    assert read(tmp_path, name, content) == rows


@given(line_tables, st.sampled_from(["\n", "\r\n", "\r"]), st.sampled_from(["utf-8-sig", "utf-16"]))
@settings(max_examples=30)
def test_tsv_and_json_lines_give_the_cells_whatever_ends_a_line(
    tmp_path: Path, rows: list[tuple[str, str]], end: str, encoding: str
) -> None:
    text = "".join("\t".join(row) + end for row in [("text", "label"), *rows])
    assert read(tmp_path, "t.tsv", text.encode(encoding)) == rows
    text = "".join(json.dumps({"text ": a, "label": b}) + end for a, b in rows)
    assert read(tmp_path, "t.jsonl", text.encode(encoding)) == rows


@given(st.binary(max_size=60) | tables.map(lambda rows: "\n".join(map(",".join, rows)).encode()))
@settings(max_examples=40)
def test_any_bytes_are_a_table_or_one_clear_error(tmp_path: Path, content: bytes) -> None:
    for suffix in (".csv", ".tsv", ".jsonl", ".parquet", ".arrow", ".conll", ".csv.gz"):
        try:
            read(tmp_path, f"t{suffix}", content, Request([], REQUEST.config))
        except DataError as error:
            assert f"t{suffix}" in str(error)


def test_a_column_is_found_with_spaces_around_its_name_but_never_guessed(tmp_path: Path) -> None:
    pq.write_table(pa.table({" text": ["a"], "text ": ["b"], "label": ["x"]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="the column 'text' is there more than once"):
        read_table(tmp_path / "t.parquet", REQUEST).column("text_columns", "text")
    twice = pa.Table.from_arrays([pa.array(["a"])] * 3, names=["text", "label", "label"])
    pq.write_table(twice, tmp_path / "t.parquet")
    with pytest.raises(DataError, match="the column 'label' is there more than once"):
        read_table(tmp_path / "t.parquet", REQUEST).column("label_column", "label")


def test_a_folders_name_adds_no_column(tmp_path: Path) -> None:
    (tmp_path / "label=z").mkdir()
    pq.write_table(pa.table({"text": ["a"], "label": ["x"]}), tmp_path / "label=z" / "t.parquet")
    assert read_table(tmp_path / "label=z" / "t.parquet", REQUEST).columns["label"] == ["x"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"text,label\na,x\n"), "it holds gzip; a compressed table must be named so: .gz"),
        (b"PK\x03\x04" + b"\0" * 9, "it holds an archive, as Excel writes it; save the sheet as CSV"),
        (b"\xd0\xcf\x11\xe0" + b"\0" * 9, "it holds an Excel sheet; save it as CSV"),
    ],
)
def test_what_is_no_text_is_said(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, "t.csv", content)


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        (date(2020, 1, 2), "2020-01-02"),
        (datetime(2020, 1, 2, 3, 4, 5), "2020-01-02 03:04:05"),
        (time(3, 4), "03:04:00"),
    ],
)
def test_dates_of_parquet_are_the_names_that_a_csv_file_has(tmp_path: Path, cell: object, name: str) -> None:
    pq.write_table(pa.table({"text": ["a"], "label": [cell]}), tmp_path / "t.parquet")
    (read_cell,) = read_table(tmp_path / "t.parquet", REQUEST).columns["label"]
    ((_, written),) = read(tmp_path, "t.csv", f"text,label\na,{name}\n".encode())
    assert as_name(read_cell) == as_name(written) == name
