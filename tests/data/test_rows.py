"""Tables as people have them: what is mended is said, and what cannot be read is refused with its place."""

import gzip
import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value
from processes import ROOT

from finesweep.config.run import DataConfig, DataSource, Empty, ProblemType
from finesweep.data import Splits, load_splits
from finesweep.data.overview import overview, suspicions
from finesweep.data.split import held_counts
from finesweep.errors import ConfigError, DataError
from finesweep.tasks import task_of

CASES = ROOT / "tests" / "cases"
BASE = DataConfig(
    source=DataSource.table, name="mine", text_columns=["text"], metric="accuracy", eval_split="train"
)
REGRESSION = {"problem_type": ProblemType.regression, "metric": "rmse"}


def load(path: Path, **keys: Any) -> Splits:
    return load_splits(replace(BASE, path=str(path), **keys))


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def table(folder: Path, suffix: str, texts: list[Any], labels: list[Any]) -> Path:
    """The same cells as JSON lines, parquet or CSV."""
    path = folder / f"t{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.table({"text": texts, "label": labels}), path)
    elif suffix == ".jsonl":
        rows = zip(texts, labels, strict=True)
        path.write_text("".join(json.dumps({"text": a, "label": b}) + "\n" for a, b in rows))
    else:
        rows = zip(texts, labels, strict=True)
        path.write_text("text,label\n" + "".join(f"{a or ''},{'' if b is None else b}\n" for a, b in rows))
    return path


FORMATS = (".csv", ".jsonl", ".parquet")


@pytest.mark.parametrize("suffix", FORMATS)
def test_all_empty_cells_are_counted_at_once_whatever_the_format(tmp_path: Path, suffix: str) -> None:
    texts, labels = ["a", None, "c", " ", "e"], ["x", "y", None, "y", "y"]
    path = table(tmp_path, suffix, texts, labels)
    counted = r"row 2.*: column 'text' is empty.* 5 rows: 2 in column 'text' \(.* 1 in the label"
    with pytest.raises(DataError, match=counted):
        load(path)
    dropped = load(path, empty=Empty.drop)
    assert dropped.train.to_dict() == {"text": ["a", "e"], "label": [0, 1]}
    assert dropped.notes == (f"{path}: 3 of 5 rows left out: a text or a label is empty (data.empty=drop)",)
    kept = load(path, empty=Empty.keep)
    assert list(kept.train["text"]) == ["a", "", "", "e"]
    assert any("1 of 5 rows left out: the label is empty" in note for note in kept.notes)


def test_an_optional_title_may_stay_empty() -> None:
    path = CASES / "empty_cells.csv"
    message = "40 in column 'title'.*; 3 in column 'review' .*; 2 in the label .*data.empty=drop"
    with pytest.raises(DataError, match=message):
        load(path, text_columns=["title", "review"])
    assert len(load(path, text_columns=["title", "review"], empty=Empty.keep).train) == 58
    assert len(load(path, text_columns=["review"], empty=Empty.drop).train) == 55
    with pytest.raises(DataError, match="row 1, line 1: the label is empty.* 2 in the label"):
        load(CASES / "empty_label.jsonl")


def test_rows_to_predict_are_never_dropped(tmp_path: Path) -> None:
    written(tmp_path, "train.csv", "text,label\na,x\nb,y\n")
    written(tmp_path, "test.csv", 'text\nc\n""\nd\n')
    splits = load(tmp_path, test_split="test", empty=Empty.drop)
    assert list(splits.test["test"]["text"]) == ["c", "", "d"]
    assert "column 'text' is empty in 1 rows, which stay" in splits.notes[0]


def test_an_unknown_label_is_named_by_its_row_in_the_file(tmp_path: Path) -> None:
    written(tmp_path, "train.csv", "text,label\na,x\nb,y\n")
    written(tmp_path, "dev.csv", "text,label\n,x\n,x\nc,z\nd,z\n")
    with pytest.raises(DataError, match="dev.csv, row 3: unknown label 'z'.*2 rows of this split"):
        load(tmp_path, empty=Empty.drop, eval_split="validation")


@pytest.mark.parametrize(
    ("suffix", "labels"),
    [
        (".csv", ["4.873", "2.5"]),
        (".jsonl", [4.873, 2.5]),
        (".parquet", [4.873, 2.5]),
        (".csv", ["1e300", "2"]),
    ],
)
def test_numbers_are_no_class_names_unless_they_are_listed(
    tmp_path: Path, suffix: str, labels: list[Any]
) -> None:
    path = table(tmp_path, suffix, ["a", "b"], labels)
    with pytest.raises(DataError, match="looks like a number.*problem_type=regression data.metric=pearson"):
        load(path)
    names = [str(label) for label in labels]
    assert load(path, labels=names).labels == names


@pytest.mark.parametrize("suffix", FORMATS)
def test_one_rule_reads_labels_of_all_formats(tmp_path: Path, suffix: str) -> None:
    labels = (
        ["1.0", " 0 ", "1"]
        if suffix == ".csv"
        else ([1.0, 0.0, 1.0] if suffix == ".parquet" else [1, "0", 1.0])
    )
    splits = load(table(tmp_path, suffix, ["a", "b", "c"], labels))
    assert (splits.labels, list(splits.train["label"])) == (["0", "1"], [1, 0, 1])


@pytest.mark.parametrize("name", ["a\tb", "a\nb", "a\0b"])
def test_a_label_that_no_prediction_file_can_hold_is_refused_with_its_place(
    tmp_path: Path, name: str
) -> None:
    path = table(tmp_path, ".jsonl", ["a", "b"], ["x", name])
    with pytest.raises(DataError, match="row 2, line 2: the label is .* without tabs, line breaks and NUL"):
        load(path)
    several = table(tmp_path, ".jsonl", ["a", "b"], [["x"], ["x", name]])
    with pytest.raises(DataError, match="row 2, line 2: the label is .* without tabs"):
        load(several, problem_type=ProblemType.multi_label_classification, metric="f1_micro")


def test_a_german_spreadsheet_is_read_and_said() -> None:
    path = CASES / "spreadsheet_german.csv"
    splits = load(path, text_columns=["Text"], label_column="Preis", **REGRESSION)
    assert list(splits.train["label"])[:2] == pytest.approx([10.0, 11.01])
    assert "separated by ';'" in splits.notes[0] and "decimal commas" in splits.notes[1]
    keys = {"text_columns": ["Text"], "label_column": "Preis", **REGRESSION}
    assert load(path, delimiter=";", decimal=",", **keys).notes == ()
    with pytest.raises(DataError, match="'10,00'; legal for regression.*set data.decimal=','"):
        load(path, decimal=".", **keys)


@pytest.mark.parametrize(
    ("numbers", "decimal", "read"),
    [
        (["1.250,50", "3,5"], None, [1250.5, 3.5]),
        (["1,234", "3,456"], ",", [1.234, 3.456]),
        (["1,234", "3,456"], None, None),  # thousands, or not?
        (["1,5", "2.5"], None, None),
        (["1_000", "2"], None, None),
        (["nan", "2"], None, None),
    ],
)
def test_commas_in_numbers(
    tmp_path: Path, numbers: list[str], decimal: str | None, read: list[float] | None
) -> None:
    path = written(tmp_path, "t.csv", "text;label\n" + "".join(f"a;{number}\n" for number in numbers))
    if read is None:
        with pytest.raises(DataError, match="legal for regression"):
            load(path, decimal=decimal, **REGRESSION)
    else:
        labels = list(load(path, decimal=decimal, **REGRESSION).train["label"])
        assert labels == pytest.approx(read)


def test_numbers_of_every_type(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"text": ["a", "b"], "label": [Decimal("1.50"), Decimal("2.25")]}), path)
    assert list(load(path, **REGRESSION).train["label"]) == [1.5, 2.25]
    for huge in ("1e300", "9" * 400):
        with pytest.raises(DataError, match="row 2, line 3: the label is .*finite number, at most 3.4e"):
            load(written(tmp_path, "t.csv", f"text,label\na,1\nb,{huge}\n"), **REGRESSION)
    with pytest.raises(DataError, match="row 1, line 2: the label is '1e300'; legal for regression"):
        load(CASES / "regression_overflow.csv", **REGRESSION)


@pytest.mark.parametrize(
    ("text", "encoding", "key", "note"),
    [
        ("text;label\r\nä;x\r\nb;y\r\n", "utf-16", None, "read as UTF-16, by its byte order mark"),
        ("text\tlabel\r\nä\tx\r\nb\ty\r\n", "utf-8-sig", None, "separated by tab"),
        ("text,label\rä,x\rb,y\r", "cp1252", "cp1252", ""),
        ('text|label\n"ä"|x\nb|y\n', "utf-8", None, "separated by '|'"),
    ],
)
def test_encodings_delimiters_and_line_ends(
    tmp_path: Path, text: str, encoding: str, key: str | None, note: str
) -> None:
    splits = load(written(tmp_path, "t.csv", text.encode(encoding)), encoding=key)
    assert (list(splits.train["text"]), splits.labels) == (["ä", "b"], ["x", "y"])
    assert note in " ".join(splits.notes) and bool(splits.notes) == bool(note)


def test_compressed_tables_are_read(tmp_path: Path) -> None:
    written(tmp_path, "train.csv.gz", gzip.compress(b"text,label\na,x\nb,y\n"))
    written(tmp_path, "dev.jsonl.gz", gzip.compress(b'{"text": "c", "label": "y"}\n'))
    assert list(load(tmp_path, eval_split="validation").eval["label"]) == [1]
    with pytest.raises(DataError, match="not a whole gzip file"):
        load(written(tmp_path, "t.csv.gz", gzip.compress(b"text,label\na,x\nb,y\n")[:-9]))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "text,label\nä,x\n".encode("cp1252"), "line 2: not UTF-8 .*data.encoding=cp1252"),
        ("t.csv", "text,label\nä,x\n".encode("utf-16-le"), "line 1: a NUL character; .*data.encoding=utf-16"),
        ("t.csv", b'text,label\na,x\n"b,y\nc,x\n', "line 3: not valid CSV: the row that begins here"),
        ("t.tsv", b"text\ttext\tlabel\na\tb\tx\n", "the column 'text' is there more than once"),
        ("t.jsonl", b'{"text": "a", "text": "b", "label": "x"}\n', "'text' is there more than once"),
        ("t.jsonl", b"[" * 100_000, "line 1: JSON that cannot be read: nested too deeply"),
        ("t.jsonl", b'{"text": "a", "label": ' + b"9" * 5000 + b"}\n", "line 1: .*a number is too long"),
        ("t.jsonl", b'{"text": {"de": "a"}, "label": "x"}\n', "row 1, line 1: column 'text' is {'de': 'a'}"),
        ("t.arrow", b"no arrow", "not a readable Arrow file"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load(written(tmp_path, name, content))


def test_keys_for_files_are_checked(tmp_path: Path) -> None:
    path = written(tmp_path, "t.jsonl", '{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}\n')
    for key, value in (("delimiter", ";"), ("delimiter", "ab"), ("encoding", "latin-99"), ("decimal", ";")):
        with pytest.raises(
            ConfigError, match=f"data.{key}: got '{value}'; legal: null|data.decimal: got ';'"
        ):
            load(path, **{key: value})


def test_only_used_columns_must_have_one_name() -> None:
    for name in ("unnamed_columns.csv", "unnamed_columns.tsv"):
        assert load(CASES / name, text_columns=["v2"], label_column="v1").labels == ["ham", "spam"]
    with pytest.raises(ConfigError, match="no column 'text' in .*; it has: v1, v2$"):
        load(CASES / "unnamed_columns.csv")


def test_half_a_character_is_replaced_and_said() -> None:
    splits = load(CASES / "lone_surrogate.jsonl")
    assert splits.train["text"][0] == "broken emoji \ufffd end"
    assert "row 1, line 1: column 'text' holds half a character" in splits.notes[0]


def test_long_texts_are_read(tmp_path: Path) -> None:
    assert (
        len(load(written(tmp_path, "t.csv", f"text,label\n{'a' * 200_000},x\nb,y\n")).train["text"][0])
        == 200_000
    )


def test_split_names_of_any_form(tmp_path: Path) -> None:
    splits = load(CASES / "dash_split", eval_split="dev-matched")
    assert list(splits.eval["text"]) == ["a", "b"]
    assert len(load(CASES / "dash_split", eval_split="dev-matched[:50%] + train").eval) == 3
    written(tmp_path, "my train.csv", "text,label\na,x\nb,y\n")
    assert len(load(tmp_path, train_split="my train", eval_split="my train[1:]").eval) == 1
    with pytest.raises(ConfigError, match="there is no split 'dev_matched'; legal: train, dev-matched"):
        load(CASES / "dash_split", eval_split="dev_matched")


def test_class_names_that_cannot_be_read_are_said(tmp_path: Path) -> None:
    table = pq.read_table(CASES / "classlabel_names.parquet")
    features = json.loads(table.schema.metadata[b"huggingface"])
    features["info"]["features"]["when"] = {"_type": "OfAFutureVersion"}
    future = table.replace_schema_metadata({b"huggingface": json.dumps(features).encode()})
    pq.write_table(future, tmp_path / "future.parquet")
    assert any(
        "class names in it, if any, are left out" in note for note in load(tmp_path / "future.parquet").notes
    )


def test_class_names_of_a_file_are_the_labels_in_their_order(tmp_path: Path) -> None:
    assert load(CASES / "classlabel_names.parquet").labels == ["neg", "pos"]
    label = ClassLabel(names=["low", "high", "middle"])
    rows = {"text": ["a", "b", "c"], "label": [1, 0, -1]}
    saved = Dataset.from_dict(rows, features=Features({"text": Value("string"), "label": label}))
    saved.save_to_disk(str(tmp_path / "one"))
    splits = load(tmp_path / "one", empty=Empty.drop)
    assert (splits.labels, list(splits.train["label"])) == (["low", "high", "middle"], [1, 0])
    DatasetDict({"train": saved, "dev": saved.select([0])}).save_to_disk(str(tmp_path / "two"))
    splits = load(tmp_path / "two", eval_split="validation", empty=Empty.drop)
    assert list(splits.eval["label"]) == [1]


def test_class_names_of_tags(tmp_path: Path) -> None:
    tags = List(ClassLabel(names=["O", "B-PER"]))
    rows = {"tokens": [["a", "b"], ["c"]], "tags": [[0, 1], [0]]}
    Dataset.from_dict(rows, features=Features({"tokens": List(Value("string")), "tags": tags})).to_parquet(
        str(tmp_path / "t.parquet")
    )
    splits = load(
        tmp_path / "t.parquet", text_columns=["tokens"], label_column="tags", metric="span_f1",
        problem_type=ProblemType.token_classification,
    )  # fmt: skip
    assert (splits.labels, list(splits.train["label"])) == (["O", "B-PER"], [[0, 1], [0]])


def test_a_hold_out_of_few_rows_of_many_labels() -> None:
    splits = load(CASES / "few_rows_many_classes.csv", holdout=0.1, eval_split="validation")
    assert len(splits.eval) in (38, 39) and len(set(splits.train["label"])) == 77
    assert splits.final_eval is None
    assert "there is no split 'validation': nothing is scored once" in splits.notes[0]


@pytest.mark.parametrize(
    ("sizes", "share", "counts"),
    [
        ([197, 203], 0.25, [49, 51]),
        ([2, 2], 0.248, [0, 0]),
        ([1, 1, 8], 0.5, [0, 0, 4]),
        ([1, 1, 1, 5], 0.6, [0, 0, 0, 4]),
        ([3, 3, 3, 3], 0.4, [1, 1, 1, 1]),
    ],
)
def test_each_label_keeps_a_row_in_train(sizes: list[int], share: float, counts: list[int]) -> None:
    held = held_counts(sizes, share, Random(0))
    assert all(count < size for count, size in zip(held, sizes, strict=True))
    assert abs(sum(held) - sum(counts)) <= 1


def test_whole_numbers_that_are_mostly_different_are_no_labels(tmp_path: Path) -> None:
    path = table(tmp_path, ".csv", ["a"] * 30, list(range(250_000, 250_030)))
    with pytest.raises(DataError, match="30 different numbers on 30 rows; .*problem_type=regression"):
        load(path)


def sentences(path: Path, **keys: Any) -> str:
    config = replace(BASE, path=str(path), **keys)
    splits, task = load_splits(config), task_of(config)
    return "\n".join([*overview(config, splits, task), *suspicions(config, splits, task)])


def test_what_a_run_is_about_to_train_on_is_shown_without_any_text(tmp_path: Path) -> None:
    path = CASES / "one_class_validation.csv"
    shown = sentences(path, train_split="train[:8]", eval_split="train[8:]")
    assert "data mine: train 8 rows; eval 4 rows\ndata mine: text -> label\n" in shown
    assert "labels of train: x (4), y (4)\n" in shown
    assert "labels of eval: x (4), y (0)" in shown
    assert "the 4 rows that select the best checkpoint have only the label 'x'" in shown
    assert "row 3" not in shown
    odd = table(tmp_path, ".csv", ["a", "a", "b", "c"], ["None", "Yes", "yes", "yes"])
    shown = sentences(odd)
    assert "2 of 3 labels are on a single row of train" in shown
    assert "differ in upper and lower case alone: Yes, yes" in shown
    assert "the label 'None' is a name here" in shown
    assert "2 rows of train have a text that is there with another label" in shown
    assert "4 of 4 rows of eval have a text that is in train" in shown
    repeated = table(tmp_path, ".csv", ["a", "b", "c", "c", "a", "d"], ["x", "y", "x", "x", "x", "y"])
    shown = sentences(
        repeated, train_split="train[:2]", eval_split="train[2:3]", final_eval_split="train[3:]"
    )
    assert "1 of 3 rows of final have a text that is in train, too" in shown
    assert "1 of 3 rows of final have a text that is in eval, too" in shown
    alike = sentences(table(tmp_path, ".csv", ["a", "b", "c"], ["x", "x\u200b", "y"]))
    assert r"look the same, but consist of other characters: 'x', 'x\u200b'" in alike
    same = sentences(written(tmp_path, "n.csv", "text,label\na,3\na,3\n"), **REGRESSION)
    assert "numbers of train: mean 3, standard deviation 0, 3 to 3" in same
    assert "all rows of eval have the same number" in same and "'text' is the same on all rows" in same
