"""A sample submission is followed: its columns, its ids in their order, labels or probabilities."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from processes import ROOT

from finesweep.config.places import absolute_places
from finesweep.config.run import (
    DataConfig,
    DataSource,
    ModelConfig,
    ProblemType,
    RunConfig,
    SubmissionConfig,
    Values,
)
from finesweep.data import Splits, load_splits
from finesweep.errors import ConfigError, DataError
from finesweep.provenance.content import all_splits
from finesweep.tasks import task_of
from finesweep.tasks.template import write_own_submission

COMPETITION = ROOT / "tests" / "cases" / "competition"
BASE = DataConfig(
    source=DataSource.table, name="mine", text_columns=["comment"], label_column="toxic", metric="accuracy",
    holdout=0.25, test_split="test", submission=SubmissionConfig("sample_submission.csv"),
)  # fmt: skip
MULTI: dict[str, Any] = {
    "problem_type": ProblemType.multi_label_classification, "metric": "f1_micro", "label_columns": ["p", "q"],
}  # fmt: skip
NO_ROWS = Dataset.from_dict({})


def load(path: Path, **keys: Any) -> Splits:
    return load_splits(replace(BASE, path=str(path), **keys))


def folder(path: Path, sample: str, test: str = "n,comment\n7,a\n8,b\n", train: str = "") -> Path:
    (path / "train.csv").write_text(train or "comment,toxic\na,no\nb,yes\nc,no\nd,yes\n")
    (path / "test.csv").write_text(test)
    (path / "sample_submission.csv").write_text(sample)
    return path


def written(path: Path, logits: list[list[float]], **keys: Any) -> str:
    splits = load(path, **keys)
    assert splits.submission is not None
    task, names = task_of(replace(BASE, **keys)), splits.labels or ["value"]
    file = write_own_submission(
        path / "out", splits.submission, task, np.asarray(logits, np.float32), NO_ROWS, names
    )
    return file.read_text()


def test_a_competitions_sample_is_followed() -> None:
    splits = load(COMPETITION)
    assert splits.submission is not None and splits.submission.values is Values.probabilities
    assert splits.submission.rows == list(range(12))
    assert "probabilities of '1' in 'toxic' (data.submission.values)" in splits.notes[-1]
    record = all_splits(splits, splits.train, splits.eval)["submission template"]
    assert (record.rows, record.columns) == (12, {"file": splits.submission.sample.sha256})


@pytest.mark.parametrize(
    ("sample", "keys", "text"),
    [
        ("n,x\n8,no\n7,no\n", {}, "n,x\n8,yes\n7,no\n"),
        ("n;x\n8;0.5\n7;0.5\n", {}, "n;x\n8;0.731059\n7;0.268941\n"),
        ("n,x\n7,0\n8,0\n", {"positive_label": "no"}, "n,x\n7,0.731059\n8,0.268941\n"),
        ("n,yes,no\n7,0.5,0.5\n8,0.5,0.5\n", {}, "n,yes,no\n7,0.268941,0.731059\n8,0.731059,0.268941\n"),
        ("n,yes,no\n7,0,1\n8,0,1\n", {}, "n,yes,no\n7,0,1\n8,1,0\n"),
        ("n,x\n7,\n8,\n", {"submission": SubmissionConfig("sample_submission.csv", Values.labels)},
         "n,x\n7,no\n8,yes\n"),
    ],
)  # fmt: skip
def test_columns_ids_order_and_values_are_those_of_the_sample(
    sample: str, keys: dict[str, Any], text: str, tmp_path: Path
) -> None:
    assert written(folder(tmp_path, sample), [[1, 0], [0, 1]], **keys) == text


def test_several_labels_and_numbers_fill_a_sample(tmp_path: Path) -> None:
    train = "comment,p,q,toxic\na,0,1,2.5\nb,1,0,3.5\nc,1,1,1.5\nd,0,0,2\n"
    path = folder(tmp_path, "n,q,p\n7,0.5,0.5\n8,0.5,0.5\n", train=train)
    assert written(path, [[0, 1], [1, 0]], **MULTI) == "n,q,p\n7,0.731059,0.5\n8,0.5,0.731059\n"
    numbers = {"problem_type": ProblemType.regression, "metric": "rmse"}
    path = folder(tmp_path, "n,price\n7,0\n8,0\n", train=train)
    assert written(path, [[1.25], [2]], **numbers) == "n,price\n7,1.250000\n8,2.000000\n"
    with pytest.raises(ConfigError, match="data.submission.values: got 'probabilities'; .* no probabilities"):
        load(path, **numbers, submission=SubmissionConfig("sample_submission.csv", Values.probabilities))


def test_a_tsv_sample_and_rows_that_are_only_counted(tmp_path: Path) -> None:
    folder(tmp_path, "", test='comment\n"a ""b"""\nc\n')
    (tmp_path / "s.tsv").write_text("index\tprediction\n0\tno\n1\tno\n")
    template = {"submission": SubmissionConfig("s.tsv")}
    assert written(tmp_path, [[0, 1], [1, 0]], **template) == "index\tprediction\n0\tyes\n1\tno\n"


@pytest.mark.parametrize(
    ("sample", "keys", "message"),
    [
        ("n,x\n7,no\n9,no\n", {}, "sample_submission.csv: '9' not among the ids of .*test.csv"),
        ("n,x\n7,no\n", {}, "test.csv: '8' not among the ids of .*sample_submission.csv"),
        ("n,x\n7,no\n7,no\n8,no\n", {}, "column 'n' has '7' more than once"),
        ("id,x\n7,no\n8,no\n", {}, "test.csv: no column 'id', by which .* names its rows"),
        ("n,x\n7,maybe\n8,maybe\n", {}, "does not show by its values .*values=labels or probabilities"),
        ("n,x,y\n7,0,0\n8,0,0\n", {}, "a column for each of no, yes; it has x, y"),
        ("n\n7\n8\n", {}, "the first of ids and one at least to be filled"),
        ("n,x\n", {}, "no rows, only a header"),
        ("n,x\n7,0.5\n8,0.5\n", {"labels": ["a", "b"], "train_split": "ab"}, "does not show by its values"),
        ("n,x\n7,no\n8,no\n", {"test_split": "test[:1]"}, "'8' not among the ids"),
        ("n,x\n7,no\n8,no\n", {"test_split": "test + train"}, "one split, the rows of .*sample"),
        ("n,x\n7,no\n8,no\n", {"test_split": None}, "data.test_split: got None; legal: the rows that"),
        ("n,x\n7,no\n8,no\n", {"submission": SubmissionConfig("s.csv")}, "got 's.csv'; legal: a file"),
        ("n,x\n7,no\n8,no\n", {"submission": SubmissionConfig("test.txt")}, "got 'test.txt'; legal"),
        ("n,x\n7,no\n8,no\n", {"submission": SubmissionConfig(None, Values.labels)}, "legal: null without"),
        ("n,x\n7,no\n8,no\n", {"source": DataSource.demo}, "null, for only data.source=table"),
    ],
)  # fmt: skip
def test_a_sample_that_cannot_be_followed_is_refused_before_training(
    sample: str, keys: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = folder(tmp_path, sample)
    (path / "ab.csv").write_text("comment,toxic\na,a\nb,b\nc,a\nd,b\n")
    with pytest.raises((ConfigError, DataError), match=message):
        load(path, **keys)


def test_a_sample_beside_the_command_is_found_from_a_jobs_own_folder(own_folder: Path) -> None:
    shutil.copy(COMPETITION / "sample_submission.csv", own_folder / "mine.csv")
    data = replace(BASE, path="data", submission=SubmissionConfig("mine.csv"))
    moved = absolute_places(RunConfig(data=data, model=ModelConfig(name="m")), own_folder)
    assert moved.data.submission.template == str(own_folder / "mine.csv")
    inside = absolute_places(RunConfig(data=BASE, model=ModelConfig(name="m")), own_folder)
    assert inside.data.submission.template == "sample_submission.csv"
