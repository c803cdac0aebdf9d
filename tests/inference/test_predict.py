"""`finesweep predict`: new rows by a study, a run or a checkpoint; bad input is one error."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import tiny_models
from processes import ROOT, SMALL

import finesweep
from finesweep.cli.main import finesweep as command
from finesweep.config.trained import FILE
from finesweep.errors import (
    ConfigError,
    DataError,
    FinesweepError,
    ModelError,
    OutputError,
    RunError,
    StudyError,
)
from finesweep.io.checkpoint import MANIFEST
from finesweep.study import studies
from finesweep.study.records import TrialRecord

COMPETITION = ROOT / "tests/cases/competition"
pytestmark = pytest.mark.xdist_group("predict")
STUDY = "quickstart-table"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two trials on a competition's rows; its winner has predicted them, by the sample."""
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("HF_HUB_OFFLINE", "1")
        finesweep.sweep(
            ["data=table", f"data.path={COMPETITION}", "data.text_columns=[comment]", "data.holdout=0.25",
             "data.label_column=toxic", "data.test_split=test", "hydra/launcher=basic", "seed=1",
             "data.submission.template=sample_submission.csv", "hydra.sweeper.study.n_trials=2", *SMALL],
            config_dir=ROOT / "conf",
        )  # fmt: skip
    return folder


@pytest.fixture
def here(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(project)
    return project


def predict(*arguments: object) -> None:
    with command.make_context("finesweep", ["predict", *map(str, arguments)]) as context:
        command.invoke(context)


def trial(number: int) -> TrialRecord:
    return TrialRecord(studies.load(STUDY, "sqlite:///mlruns/optuna.db").trials[number])


def winner() -> Path:
    return Path(str(finesweep.open_study(STUDY).winner.checkpoint))


def test_a_competitions_sample_is_followed_as_the_run_itself_does(here: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.csv"
    predict(STUDY, COMPETITION / "test.csv", "trainer.threads=1", "--out", out, "--template",
            COMPETITION / "sample_submission.csv")  # fmt: skip
    assert out.read_text() == (here / f"outputs/studies/{STUDY}/submission/submission.csv").read_text()


def test_a_study_its_winners_run_and_checkpoint_predict_the_same(here: Path, tmp_path: Path) -> None:
    run_id, checkpoint = finesweep.open_study(STUDY).winner.run_id, winner()
    for number, name in enumerate((STUDY, run_id, run_id[:12], checkpoint, checkpoint.parent)):
        predict(name, COMPETITION / "test.csv", "--out", tmp_path / f"{number}.csv")
    first, *others = [(tmp_path / f"{number}.csv").read_text() for number in range(5)]
    assert others == [first] * 4


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_ids_and_their_order_are_kept_in_every_format(here: Path, tmp_path: Path, suffix: str) -> None:
    rows = [{"id": f"00{i}", "comment": f"row {i}", "n": i} for i in (3, 1, 2)]
    (tmp_path / "new.jsonl").write_text("\n".join(map(json.dumps, rows)))
    out = tmp_path / f"out.{suffix}"
    predict(STUDY, tmp_path / "new.jsonl", "--out", out)
    if suffix == "parquet":
        found = pq.read_table(out).to_pylist()
    elif suffix == "jsonl":
        found = list(map(json.loads, out.read_text().splitlines()))
    else:
        found = list(csv.DictReader(out.read_text().splitlines(), delimiter="," if suffix == "csv" else "\t"))
    assert list(found[0]) == ["id", "n", "prediction", "probability_0", "probability_1"]
    assert [row["id"] for row in found] == ["003", "001", "002"]
    assert [int(row["n"]) for row in found] == [3, 1, 2]
    for row in found:
        shares = [float(row["probability_0"]), float(row["probability_1"])]
        assert sum(shares) == pytest.approx(1, abs=1e-5)
        assert row["prediction"] == str(shares.index(max(shares)))


def test_rows_of_texts_alone_are_numbered(here: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("comment\na\nb\n")
    predict(STUDY, tmp_path / "new.csv", "--out", tmp_path / "out.csv")
    assert [line.partition(",")[0] for line in (tmp_path / "out.csv").read_text().splitlines()] == [
        "index", "0", "1"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "rows",
    [["good", "bad"], [{"comment": "good"}, {"comment": "bad"}], {"comment": ["good", "bad"]}],
    ids=["texts", "dictionaries", "columns"],
)
def test_rows_in_memory_are_predicted_as_those_of_a_file(here: Path, tmp_path: Path, rows: object) -> None:
    (tmp_path / "new.csv").write_text("comment\ngood\nbad\n")
    study = finesweep.open_study(STUDY)
    expected = finesweep.predict(study, tmp_path / "new.csv")
    pd.testing.assert_frame_equal(finesweep.predict(study, rows), expected)
    pd.testing.assert_frame_equal(
        finesweep.predict(STUDY, pd.DataFrame({"comment": ["good", "bad"]})), expected
    )


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({"comment": "good"}, "column 'comment' is one str; legal: a list of cells"),
        ({"comment": 1}, "column 'comment' is one int"),
        (
            pd.DataFrame([["good", "bad"]], columns=["comment", "comment"]),
            "'comment' is there more than once",
        ),
    ],
    ids=["text", "number", "doubled"],
)
def test_rows_in_memory_that_are_no_table_are_refused(here: Path, rows: object, words: str) -> None:
    with pytest.raises(DataError, match=words):
        finesweep.predict(STUDY, rows)


def test_overrides_are_a_dictionary_or_a_list_but_no_text(here: Path) -> None:
    given = finesweep.predict(STUDY, ["good"], {"data.labels": ["not so", "it's so"]})
    assert list(given.columns)[-2:] == ["probability_not so", "probability_it's so"]
    with pytest.raises(ConfigError, match="overrides: got 'data.labels=.*; legal: a list of texts"):
        finesweep.predict(STUDY, ["good"], "data.labels=[a,b]")


def test_a_file_that_is_there_is_replaced_only_on_request(here: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("mine")
    with pytest.raises(OutputError, match="out.csv exists already; --overwrite replaces it"):
        predict(STUDY, COMPETITION / "test.csv", "--out", out)
    assert out.read_text() == "mine"
    predict(STUDY, COMPETITION / "test.csv", "--out", out, "--overwrite")
    assert out.read_text().startswith("id,prediction,probability_0,")


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (["", "F"], ModelError, "CHECKPOINT.RUN_ID.STUDY: got ''; legal: a checkpoint's folder"),
        (
            [STUDY, "F", "--template", "sample"],
            ConfigError,
            "--template: got 'sample'; legal: a file with a s",
        ),
        (["nope", "F"], StudyError, "there: quickstart-table"),
        (["abcdef", "F"], RunError, "legal: a run.s id, .* or its beginning"),
        (["./nope", "F"], ModelError, "nope: no such folder"),
        ([".", "F"], ModelError, "no checkpoint: it has no config.json"),
        ([STUDY, "nope.csv"], DataError, "nope.csv does not exist"),
        ([STUDY, "F", "data.text_columns=[title]"], ConfigError, "no column 'title'.*it has: id, comment"),
        ([STUDY, "F", "optimizer.learning_rate=1"], ConfigError, "changes no prediction; legal: KEY=VALUE"),
        ([STUDY, "F", "data.labels=[a]"], ConfigError, r"data.labels: got \['a'\]; legal: 2 names"),
        ([STUDY, "F", "--keep", "x"], DataError, "no column 'x'; it has: id, comment"),
        (
            [STUDY, "F", "data.problem_type=regression"],
            ConfigError,
            "got 'regression'; legal: classification f",
        ),
    ],
    ids=[
        "no name",
        "no suffix",
        "study",
        "run",
        "folder",
        "no checkpoint",
        "file",
        "column",
        "key",
        "labels",
        "keep",
        "type",
    ],
)
def test_bad_input_is_one_error_and_writes_nothing(
    here: Path, tmp_path: Path, arguments: list[str], error: type[FinesweepError], words: str
) -> None:
    given = [str(COMPETITION / "test.csv") if text == "F" else text for text in arguments]
    with pytest.raises(error, match=words):
        predict(*given, "--out", tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="legal: a file that ends with .csv, .tsv, .jsonl, .parquet"):
        predict(STUDY, "new.csv", "--out", tmp_path / "out.xlsx")


def test_a_column_with_the_name_of_a_predicted_one_is_refused(here: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("comment,prediction\na,1\n")
    with pytest.raises(DataError, match="'prediction' already.*--keep NAME"):
        predict(STUDY, tmp_path / "new.csv", "--out", tmp_path / "out.csv")


def _damage_weights(folder: Path) -> None:
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_damage_weights, "damaged: model.safetensors: content differs"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "damaged: tokenizer.json: missing"),
        (lambda folder: (folder / MANIFEST).unlink(), "damaged: manifest"),
    ],
    ids=["weights", "tokenizer", "manifest"],
)
def test_a_damaged_checkpoint_is_refused(
    here: Path, tmp_path: Path, damage: Callable[[Path], object], words: str
) -> None:
    copy = Path(shutil.copytree(winner(), tmp_path / "copy"))
    damage(copy)
    with pytest.raises(ModelError, match=words):
        predict(copy, COMPETITION / "test.csv", "--out", tmp_path / "out.csv")


def test_a_checkpoint_that_does_not_say_how_it_was_trained_is_told(here: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(winner(), tmp_path / "copy"))
    for name in (FILE, MANIFEST):
        (copy / name).unlink()
    out, rows = tmp_path / "out.csv", COMPETITION / "test.csv"
    with pytest.raises(ConfigError, match="missing: data.text_columns, model.max_length"):
        predict(copy, rows, "--out", out)
    predict(copy, rows, "--out", out, "data.text_columns=[comment]", "model.max_length=128",
            "data.labels=[fine,toxic]")  # fmt: skip
    lines = out.read_text().splitlines()
    assert lines[0] == "id,prediction,probability_fine,probability_toxic" and len(lines) == 13


def test_an_encoder_without_an_output_layer_is_refused(tmp_path: Path) -> None:
    """Its output layer would be random."""
    folder = tiny_models.save_model(tmp_path / "tiny", "Bert")
    config = json.loads((folder / "config.json").read_text())
    keys = ["data.text_columns=[comment]", "model.max_length=16"]
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["BertModel"]}))
    with pytest.raises(ModelError, match="BertModel, which has no trained output layer"):
        predict(folder, COMPETITION / "test.csv", "--out", tmp_path / "out.csv", *keys)
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 2}))
    with pytest.raises(
        ModelError, match="its weights file lacks 16 tensors of BertForSequenceClassification"
    ):
        predict(folder, COMPETITION / "test.csv", "--out", tmp_path / "out.csv", *keys)


def test_a_winner_that_is_replaced_meanwhile_is_looked_for_again(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep that goes on removes the weights of the old winner, here after they were found."""
    from finesweep.inference import judging

    gone = Path(shutil.copytree(winner(), tmp_path / "gone"))
    find, calls = judging.find_origin, []

    def finding(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) > 1:
            return find(*arguments)  # type: ignore[arg-type]
        found = find(str(gone), *arguments[1:])  # type: ignore[arg-type]
        shutil.rmtree(gone)
        return found

    monkeypatch.setattr(judging, "find_origin", finding)
    assert len(finesweep.predict(STUDY, ["a", "b"])) == 2
    assert len(calls) == 2
