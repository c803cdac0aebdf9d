"""The user's own tables: the same rows from every format, and errors that name file, row and column."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finesweep.config.run import DataConfig, DataSource, ProblemType
from finesweep.data import load_splits
from finesweep.errors import ConfigError, DataError

BASE = DataConfig(
    source=DataSource.table,
    name="mine",
    text_columns=["text"],
    label_column="mood",
    metric="accuracy",
    train_split="train[:2]",
    eval_split="train[2:]",
)
TEXTS, MOODS = ['a, "b"', "c\u2028d", "e"], ["sad", "glad", "sad"]


def config(path: Path, **settings: object) -> DataConfig:
    return replace(BASE, path=str(path), **settings)  # type: ignore[arg-type]


def write_csv(file: Path) -> None:
    file.write_text('text,mood\n"a, ""b""",sad\nc\u2028d,glad\n\ne,sad\n', encoding="utf-8-sig")


def write_tsv(file: Path) -> None:
    file.write_text('text\tmood\na, "b"\tsad\nc\u2028d\tglad\ne\tsad\n', encoding="utf-8")


def write_jsonl(file: Path) -> None:
    rows = [{"text": t, "mood": m} for t, m in zip(TEXTS, MOODS, strict=True)]
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def write_json(file: Path) -> None:
    file.write_text(json.dumps([{"text": t, "mood": m} for t, m in zip(TEXTS, MOODS, strict=True)], indent=1))


def write_parquet(file: Path) -> None:
    pq.write_table(pa.table({"text": TEXTS, "mood": MOODS}), file)


WRITERS = {
    ".csv": write_csv,
    ".tsv": write_tsv,
    ".jsonl": write_jsonl,
    ".json": write_json,
    ".parquet": write_parquet,
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_format_gives_the_same_rows(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"reviews{suffix}"
    WRITERS[suffix](file)
    splits = load_splits(config(file))
    assert splits.train.to_dict() == {"text": TEXTS[:2], "label": [1, 0]}
    assert splits.eval.to_dict() == {"text": TEXTS[2:], "label": [1]}
    assert splits.labels == ["glad", "sad"]


@pytest.mark.parametrize(
    ("labels", "names", "ids"),
    [
        ([10, 9, 10], ["9", "10"], [1, 0, 1]),
        ([True, False, True], ["False", "True"], [1, 0, 1]),
        ([1.0, 0.0, 1.0], ["0", "1"], [1, 0, 1]),
        (["b", "a", "b"], ["a", "b"], [1, 0, 1]),
    ],
)
def test_labels_of_any_kind_are_numbered_in_their_natural_order(
    tmp_path: Path, labels: list[object], names: list[str], ids: list[int]
) -> None:
    file = tmp_path / "t.parquet"
    pq.write_table(pa.table({"text": TEXTS, "mood": labels}), file)
    splits = load_splits(config(file))
    assert splits.labels == names
    assert [*splits.train["label"], *splits.eval["label"]] == ids


def test_configured_labels_decide_the_ids(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv")
    splits = load_splits(config(tmp_path / "t.csv", labels=["sad", "glad", "angry"]))
    assert (splits.labels, list(splits.train["label"])) == (["sad", "glad", "angry"], [0, 1])


def test_scores_stay_numbers(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,mood\na,1.5\nb,2\nc,-3e1\n")
    splits = load_splits(config(tmp_path / "t.csv", problem_type=ProblemType.regression))
    assert splits.labels is None
    assert (list(splits.train["label"]), list(splits.eval["label"])) == ([1.5, 2.0], [-30.0])
    assert splits.train.features["label"].dtype == "float32"


def test_folder_gives_a_split_per_file_and_test_needs_no_labels(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,mood\na,x\nb,y\n")
    write_jsonl_rows(tmp_path / "dev.jsonl", [{"mood": "y", "text": "c"}])
    (tmp_path / "test.csv").write_text("text\nd\ne\n")
    (tmp_path / "README.md").write_text("not a table")
    settings = {"train_split": "train", "eval_split": "validation", "test_split": "test"}
    splits = load_splits(config(tmp_path, **settings))
    assert splits.eval.to_dict() == {"text": ["c"], "label": [1]}
    assert splits.test["test"].to_dict() == {"text": ["d", "e"]}


def write_jsonl_rows(file: Path, rows: list[dict[str, object]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


GOOD = "text,mood\na,x\nb,y\nc,x\n"


@pytest.mark.parametrize(
    ("name", "content", "settings", "message"),
    [
        ("t.csv", "text,mood\na,x\nb\n", {}, r"t.csv, line 3: 1 fields, expected 2"),
        ("t.csv", 'text,mood\n"a\nb",x\nb\n', {}, r"t.csv, line 4: 1 fields"),
        ("t.csv", 'text,mood\n"a,x\n', {}, r"t.csv, line \d: not valid CSV"),
        ("t.csv", "text,mood\na,x\n,y\nc,x\n", {}, r"t.csv, row 2, line 3: column 'text' is empty"),
        ("t.csv", "text,mood\na,x\nb,\nc,x\n", {}, r"t.csv, row 2, line 3: the label is empty"),
        ("t.csv", "text,mood\n", {}, r"t.csv: no rows"),
        ("t.csv", "", {}, r"t.csv: the file is empty"),
        ("t.csv", "text,text,mood\na,b,c\n", {}, r"'text' is there more than once"),
        (
            "t.csv",
            GOOD,
            {"label_column": "label"},
            r"label_column: no column 'label' in .*; it has: text, mood",
        ),
        ("t.csv", GOOD, {"text_columns": ["body"]}, r"text_columns: no column 'body' .* it has: text, mood"),
        ("t.csv", "text,mood\na,x\nb,y\nc,z\n", {}, r"t.csv, row 3: unknown label 'z'; legal: x, y"),
        ("t.csv", GOOD, {"labels": ["x", "z"]}, r"t.csv, row 2: unknown label 'y'; legal: x, z"),
        ("t.csv", GOOD, {"labels": ["x"]}, r"data.labels: got \['x'\]"),
        ("t.csv", "text,mood\na,x\nb,x\nc,x\n", {}, r"only the label 'x' in column 'mood'"),
        (
            "t.csv",
            GOOD,
            {"problem_type": ProblemType.regression},
            r"line 2: the label is 'x'; legal.* number",
        ),
        (
            "t.csv",
            GOOD,
            {"text_columns": ["mood"]},
            r"columns other than 'label' and data.label_column='mood'",
        ),
        (
            "t.csv",
            GOOD,
            {"train_split": "train", "eval_split": "validation"},
            r"'data.train_split=\"train\[:80%\]\"' 'data.eval_split=\"train\[80%:\]\"'.*data.holdout=0.2",
        ),
        ("t.jsonl", '{"text": "a", "mood": "x"}\n{"text": \n', {}, r"t.jsonl, line 2: not valid JSON"),
        (
            "t.jsonl",
            '{"text": "a", "mood": "x"}\n{"mood": "x"}\n',
            {},
            r"row 2, line 2: column 'text' is empty",
        ),
        ("t.jsonl", '{"text": 5, "mood": "x"}\n', {}, r"row 1, line 1: column 'text' is 5, expected text"),
        ("t.jsonl", "[1]\n", {}, r"t.jsonl, row 1: got 1; expected an object"),
        ("t.jsonl", '{"text": "a", "mood": 0.5}\n' * 3, {}, r"row 1, line 1: .*problem_type=regression"),
        ("t.parquet", "no parquet", {}, r"t.parquet: not a readable parquet file"),
        ("t.xlsx", "x", {}, r"t.xlsx is of an unknown file type; known: .csv, .tsv"),
    ],
)
def test_bad_table_is_refused_with_place_and_remedy(
    tmp_path: Path, name: str, content: str, settings: dict[str, object], message: str
) -> None:
    (tmp_path / name).write_text(content)
    whole = {} if {"labels", "train_split"} & settings.keys() else {"train_split": "train[:2]"}
    with pytest.raises((ConfigError, DataError), match=message):
        load_splits(config(tmp_path / name, **whole | settings))


@pytest.mark.parametrize(
    ("files", "message"),
    [([], "holds no table"), (["dev.csv", "validation.tsv"], "two files for the split 'validation'")],
)
def test_folder_must_hold_one_table_per_split(tmp_path: Path, files: list[str], message: str) -> None:
    for name in files:
        (tmp_path / name).write_text(GOOD)
    with pytest.raises(DataError, match=message):
        load_splits(config(tmp_path))


def test_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere does not exist"):
        load_splits(config(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="data.path: got None"):
        load_splits(replace(BASE, path=None))
