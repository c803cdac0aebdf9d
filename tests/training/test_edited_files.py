"""A file that was edited is read again in the same process, and never in the middle of a study."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_models
from processes import ROOT, SMALL

import finesweep
from finesweep.config.run import RunConfig
from finesweep.data import load_splits
from finesweep.data.fingerprint import fingerprint
from finesweep.errors import DataChanged, DataError, StudyError
from finesweep.io.file_state import state_of
from finesweep.provenance.content import model_content
from finesweep.training.inputs import load_inputs
from finesweep.training.tried import marker

Compose = Callable[..., RunConfig]
TABLE = ("data=table", "data.path=rows.csv", "data.text_columns=[text]", "data.holdout=0.5")


def write(texts: str, path: str = "rows.csv") -> None:
    rows = [f"{texts} {row},{'ab'[row % 2]}" for row in range(16)]
    Path(path).write_text("\n".join(["text,label", *rows]) + "\n")


def test_the_same_size_at_the_same_place_is_another_state(tmp_path: Path) -> None:
    """An edit that follows at once, within a tick of the kernel's clock, is seen, too."""
    file = tmp_path / "file"
    states = []
    for text in ("one", "two", "six"):
        file.write_text(text)
        states.append(state_of([file]))
    assert len(set(states)) == 3 and states[-1] == state_of([file])
    assert state_of([tmp_path / "nothing"]) == ()


def test_an_edited_table_is_read_again_and_its_hash_is_that_of_the_rows(config: Compose) -> None:
    write("old")
    settings = config(*TABLE)
    before = load_inputs(settings)
    assert load_inputs(settings) is before
    tried = marker(settings, before.splits.labels)
    write("new")
    after = load_inputs(settings)
    assert after.splits.train["text"][0].startswith("new")
    assert after.content["train"].sha256 == fingerprint(load_splits(settings.data).train)
    assert after.content["train"].sha256 != before.content["train"].sha256
    assert marker(settings, after.splits.labels) != tried  # and so the model is tried out with them


def test_a_replaced_member_of_a_folder_and_a_new_sample_are_read_again(config: Compose) -> None:
    Path("data").mkdir()
    for split in ("train", "validation"):
        write("old", f"data/{split}.csv")
    settings = config("data=table", "data.path=data", "data.text_columns=[text]")
    before = load_inputs(settings)
    write("new", "beside.csv")
    times = os.stat("data/validation.csv")
    os.utime("beside.csv", ns=(times.st_atime_ns, times.st_mtime_ns))
    os.replace("beside.csv", "data/validation.csv")  # same name, size and time
    assert load_inputs(settings).splits.eval["text"][0].startswith("new")
    assert before.splits.eval["text"][0].startswith("old")


def test_a_model_folder_that_was_replaced_is_read_again(config: Compose) -> None:
    write("old")
    tiny_models.save_model(Path("tiny"), "Bert")
    settings = config(*TABLE, "model.name_or_path=tiny", "model.max_length=16")
    before, files = load_inputs(settings), model_content(settings.model).files
    tokenizer = Path("tiny/tokenizer.json")
    tokenizer.write_text(tokenizer.read_text().replace('"##', '"#!'))
    assert load_inputs(settings).tokenizer.get_vocab() != before.tokenizer.get_vocab()
    assert model_content(settings.model).files != files


def test_a_table_that_is_written_while_it_is_read_is_refused(
    config: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    from finesweep.data import load

    write("old")
    settings, counted = config(*TABLE), []

    def growing(*arguments: object, **keys: object) -> object:
        counted.append(write(f"text {len(counted)}"))
        return load_splits(*arguments, **keys)  # type: ignore[arg-type]

    monkeypatch.setattr(load, "load_splits", growing)
    with pytest.raises(DataError, match="rows.csv changed while it was read"):
        load_inputs(settings)


METRIC = """
from pathlib import Path

def score(y_true, y_pred):
    if not Path("stop").exists():
        Path("rows.csv").write_text(Path("edited.csv").read_text())
    return 0.5
"""

MODEL_METRIC = """
from pathlib import Path

def score(y_true, y_pred):
    if not Path("stop").exists():
        file = Path("tiny/tokenizer_config.json")
        Path("before.json").write_text(file.read_text())
        file.write_text(file.read_text() + " ")
    return 0.5
"""


def test_a_table_that_is_edited_during_a_sweep_ends_it_and_the_old_rows_let_it_go_on() -> None:
    """The first trial's metric edits the table. The second trial is handed back, and nothing is trained."""
    write("old")
    write("new", "edited.csv")
    Path("edits.py").write_text(METRIC)
    arguments = (*TABLE, *SMALL, "data.metric=edits:score", "data.direction=maximize", "hydra/launcher=basic",
                 "data.eval_split=null", "hydra.sweeper.study.n_trials=2")  # fmt: skip

    def sweep(*more: str) -> finesweep.Study:
        return finesweep.sweep([*arguments, *more], config_dir=ROOT / "conf")

    with pytest.raises(DataChanged, match="rows of train are no longer those that study 'quickstart-table'"):
        sweep()
    study = finesweep.open_study("quickstart-table")
    assert [*study.trials["state"]] == ["COMPLETE", "FAIL", "WAITING"]
    assert study.trials["error"].isna().all()  # it is nobody's failure
    with pytest.raises(StudyError, match="data.train content: was"):
        sweep()
    Path("stop").touch()
    write("old")
    assert [*sweep().trials["state"]] == ["COMPLETE", "FAIL", "COMPLETE"]
    write("new")  # another table in the same process is another study
    other = sweep("hydra.sweeper.study.name=other")
    assert [*other.trials["state"]] == ["COMPLETE", "COMPLETE"]


def test_a_model_folder_that_is_edited_during_a_sweep_ends_it_and_the_old_files_let_it_go_on() -> None:
    """The first trial's metric edits the model. The second trial is handed back, and nothing is trained."""
    write("old")
    tiny_models.save_model(Path("tiny"), "Bert")
    Path("edits_model.py").write_text(MODEL_METRIC)
    arguments = (*TABLE, *SMALL, "model.name_or_path=tiny", "model.max_length=16",
                 "data.metric=edits_model:score", "data.direction=maximize", "data.eval_split=null",
                 "hydra/launcher=basic", "hydra.sweeper.study.n_trials=2")  # fmt: skip

    def sweep() -> finesweep.Study:
        return finesweep.sweep(arguments, config_dir=ROOT / "conf")

    with pytest.raises(DataChanged, match=r"model.name_or_path: its files are no longer those that study"):
        sweep()
    study = finesweep.open_study("quickstart-table")
    assert [*study.trials["state"]] == ["COMPLETE", "FAIL", "WAITING"]
    assert study.trials["error"].isna().all()  # it is nobody's failure
    with pytest.raises(StudyError, match="model content: was"):
        sweep()
    Path("stop").touch()
    Path("tiny/tokenizer_config.json").write_text(Path("before.json").read_text())
    assert [*sweep().trials["state"]] == ["COMPLETE", "FAIL", "COMPLETE"]
