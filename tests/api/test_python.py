"""`load_config`, `run`, `sweep`, `open_study`: as the commands, without their side effects."""

import logging
import os
import signal
from pathlib import Path

import pytest
from hydra import version
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from processes import ROOT, SMALL, start

import finesweep
from finesweep.errors import ConfigError, StudyError

CONF = ROOT / "conf"


def test_a_dictionary_and_hydras_own_texts_compose_the_same_config() -> None:
    texts = ["data=table", "data.path='a b.csv'", "data.text_columns=['a=1',b]", "model.dropout=null",
             "optimizer.learning_rate=1e-3", "data.labels=['1','2']"]  # fmt: skip
    values = {"data": "table", "data.path": Path("a b.csv"), "data.text_columns": ("a=1", "b"),
              "optimizer.learning_rate": 1e-3, "model.dropout": None, "data.labels": ["1", "2"]}  # fmt: skip
    composed = finesweep.load_config(values, config_dir=CONF)
    assert composed == finesweep.load_config(texts, config_dir=CONF)
    assert composed.data.text_columns == ["a=1", "b"] and composed.data.labels == ["1", "2"]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["data=nope"], "data: got 'nope'; legal: ax, cola"),
        (["seed=-1"], "seed: got -1; legal: 0 to 4294967295"),
        (["optimizer.learnin_rate=1"], "did you mean optimizer.learning_rate"),
        (["seed=1,2"], "seed"),
        (["peft.r=4"], "peft.r: peft is null, so nothing has this key; add peft=lora"),
        (["sweep=null"], "sweep: got null; legal: sweep=NAME"),
        (["data.text_columns=["], "not in Hydra's grammar"),
        ("seed=1", r"a list of texts, such as \['seed=1'\]"),
    ],
    ids=["group", "value", "key", "range", "no group", "null", "grammar", "one text"],
)
def test_a_wrong_override_is_a_config_error(overrides: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        finesweep.load_config(overrides, config_dir=CONF)


def test_without_a_folder_of_configs_those_of_the_package_are_used(own_folder: Path) -> None:
    assert finesweep.load_config(SMALL) == finesweep.load_config(SMALL, config_dir=CONF)
    with pytest.raises(ConfigError, match="config_dir: got 'conf'; legal: a folder of configs"):
        finesweep.load_config(config_dir="conf")


def test_hydras_state_and_the_log_are_left_as_they_were_found() -> None:
    with __import__("hydra").initialize_config_dir(str(CONF), version_base="1.2"):
        before = GlobalHydra.instance().hydra, HydraConfig.instance().cfg, version.getbase()
        handlers = logging.getLogger().handlers[:]
        finesweep.load_config(config_dir=CONF)
        with pytest.raises(ConfigError):
            finesweep.load_config(["nope"], config_dir=CONF)
        with pytest.raises(ConfigError):
            finesweep.sweep(["nope=1"], config_dir=CONF)
        after = GlobalHydra.instance().hydra, HydraConfig.instance().cfg, version.getbase()
        assert all(one is other for one, other in zip(before, after, strict=True))
        assert logging.getLogger().handlers == handlers


def test_a_run_makes_its_own_folder_and_a_study_is_read_as_tables(own_folder: Path) -> None:
    config = finesweep.load_config(SMALL, config_dir=CONF)
    result = finesweep.run(config)
    assert Path(str(result.checkpoint)).parents[2] == own_folder / "outputs"
    study = finesweep.sweep(
        {"data.demo_rows": 200, "trainer.num_train_epochs": 1, "tracking.system_metrics": False,
         "hydra/launcher": "basic", "hydra.sweeper.study.n_trials": 2, "trainer.evals_per_epoch": 2},
        config_dir=CONF,
    )  # fmt: skip
    assert repr(study) == "Study('quickstart': 2 COMPLETE)"
    trials = study.trials
    assert [*trials.index] == [0, 1] and {*trials["state"]} == {"COMPLETE"}
    assert {"accuracy", "optimizer.learning_rate", "run_id", "seconds"} <= {*trials.columns}
    assert [*study.best["accuracy"]] == [trials["accuracy"].max()] == [study.winner.value]
    metrics = study.metrics
    assert metrics.index.names == ["trial", "step"]
    assert len(metrics.loc[0]["eval_accuracy"].dropna()) == 2
    assert len(finesweep.predict(result, [{"question": "q", "sentence": "s"}])) == 1
    again = finesweep.open_study("quickstart")
    assert again.trials.equals(trials)


def test_a_study_that_is_not_there_is_a_study_error() -> None:
    with pytest.raises(StudyError, match="study 'nope': there is no sqlite:///mlruns/optuna.db here"):
        finesweep.open_study("nope")


# A program without `if __name__ == "__main__"`: worker processes must not run it again.
PROGRAM = f"""
import finesweep
try:
    finesweep.sweep(["data.demo_rows=2000", "trainer.num_train_epochs=50", "tracking.system_metrics=false",
                     "hydra.sweeper.workers=2"], config_dir={str(CONF)!r})
except KeyboardInterrupt:
    print("interrupted", *finesweep.open_study("quickstart").trials["state"])
"""


@pytest.mark.slow
def test_ctrl_c_in_a_program_hands_its_trials_back(own_folder: Path) -> None:
    (own_folder / "program.py").write_text(PROGRAM)
    process = start(cwd=own_folder, program=("program.py",), cold=True)
    assert process.stderr is not None and process.stdout is not None
    begun = 0
    for line in process.stderr:
        begun += " started: " in line
        if begun == 2:
            break
    os.killpg(process.pid, signal.SIGINT)
    stdout, _ = process.communicate(timeout=120)
    (said,) = [line for line in stdout.splitlines() if line.startswith("interrupted")]
    states = said.split()[1:]
    assert "RUNNING" not in states and states.count("WAITING") == 2
    assert process.returncode == 0
