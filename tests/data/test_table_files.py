"""Which file is which split: shards, other usual names, and what is no table."""

import os
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finesweep.config.run import DataConfig, DataSource
from finesweep.data import Splits, load_splits
from finesweep.data.table_files import TableFiles
from finesweep.errors import ConfigError, DataError

BASE = DataConfig(source=DataSource.table, name="mine", text_columns=["text"], metric="accuracy")
ROWS = "text,label\na,x\nb,y\n"


def load(path: Path, **keys: Any) -> Splits:
    return load_splits(replace(BASE, path=str(path), **keys))


def test_files_of_one_split_are_read_in_their_order(tmp_path: Path) -> None:
    for number, cells in enumerate([["c"], ["a", "b"]]):
        shard = pa.table({"text": cells, "label": [f"l{cell}" for cell in cells]})
        pq.write_table(shard, tmp_path / f"train-0000{number}-of-00002.parquet")
    (tmp_path / "validation-00000-of-00001-0123456789abcdef.csv").write_text("text,label\nd,lb\ne,?\n")
    assert TableFiles(tmp_path).names == ["train", "validation"]
    splits = load(tmp_path, eval_split="validation[:1]")
    assert (list(splits.train["text"]), list(splits.train["label"])) == (["c", "a", "b"], [2, 0, 1])
    assert list(splits.eval["label"]) == [1]
    with pytest.raises(DataError, match="cdef.csv, row 2: unknown label '\\?'"):
        load(tmp_path)
    with pytest.raises(DataError, match="train-00001-of-00002.parquet, row 1: unknown label 'la'"):
        load(tmp_path, labels=["lb", "lc"])


def test_a_file_of_a_split_can_still_be_named_alone(tmp_path: Path) -> None:
    for number in (0, 2):
        (tmp_path / f"train-0000{number}-of-00003.csv").write_text(ROWS)
    alone = load(tmp_path, train_split="train-00000-of-00003", eval_split="train-00002-of-00003[:50%]")
    assert (len(alone.train), len(alone.eval)) == (2, 1)
    with pytest.raises(DataError, match="of the 3 files of split 'train', number 00001 is not there"):
        load(tmp_path)
    (tmp_path / "train-00001-of-00003.csv").write_text(ROWS)
    assert len(load(tmp_path, eval_split="train-00001-of-00003").train) == 6


@pytest.mark.parametrize("name", ["dev", "valid", "val", "eval", "Dev", "VALIDATION"])
def test_the_validation_split_may_have_another_usual_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "Train.csv").write_text(ROWS)
    (tmp_path / f"{name}.csv").write_text("text,label\nc,y\n")
    splits = load(tmp_path, train_split="train[:2]")
    assert (len(splits.train), list(splits.eval["text"])) == (2, ["c"])
    assert any("there is no split 'train'; that of" in note and "Train.csv" in note for note in splits.notes)
    assert len(load(tmp_path, eval_split=name).eval) == 1


def test_of_two_similar_splits_neither_is_guessed(tmp_path: Path) -> None:
    for name in ("train", "valid", "eval"):
        (tmp_path / f"{name}.csv").write_text(ROWS)
    assert len(load(tmp_path, eval_split="valid", final_eval_split="eval").eval) == 2
    with pytest.raises(DataError, match="has no split 'validation', but eval and valid; name one"):
        load(tmp_path)
    with pytest.raises(ConfigError, match="there is no split 'test'; legal: train, eval, valid"):
        load(tmp_path, eval_split="test")


def bound(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(path.parent)  # a socket's address has at most about 100 characters
        server.bind(path.name)


@pytest.mark.parametrize("make", [os.mkfifo, bound, lambda path: path.symlink_to(path)])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "train.csv")
    with pytest.raises(DataError, match="train.csv is neither a file nor a folder"):
        load(tmp_path / "train.csv")
    with pytest.raises(DataError, match="holds no table; .*; train.csv is no regular file"):
        load(tmp_path)


def test_a_folder_without_tables_says_where_some_are(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no table; expected files such as train.csv; legal: .csv"):
        load(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.csv").write_text(ROWS)
    with pytest.raises(DataError, match=f"set data.path={tmp_path}/data, which has some"):
        load(tmp_path)
    for name, advice in (("t.xlsx", "save the sheet as CSV"), ("t.txt", "rename it .* tsv")):
        (tmp_path / name).write_text(ROWS)
        with pytest.raises(DataError, match=f"unknown file type; .*{advice}"):
            load(tmp_path / name)
    with pytest.raises(ConfigError, match="data.path: got ''; legal: null, a file or a folder"):
        load_splits(replace(BASE, path=""))
