"""Runs made again in a fresh process: the right verdict, and the right cause where the result differs."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf.errors import OmegaConfBaseException
from processes import ROOT, finesweep, train

from finesweep.cli import main
from finesweep.config.run import DataConfig, DataSource, TrackingConfig
from finesweep.data import load_splits
from finesweep.errors import FinesweepError, OutputError
from finesweep.reproduce.diff import diff_runs, lines
from finesweep.reproduce.export import export
from finesweep.reproduce.recorded_run import load_recorded_run
from finesweep.tracking import open_store

pytestmark = pytest.mark.xdist_group("reproduce")  # one process makes the run that the tests share

ON_TABLE = (
    "data=table",
    "data.path=rows",
    "data.text_columns=[question,sentence]",
    "data.metric=accuracy",
    "model.dropout=0.1",
    "trainer.num_train_epochs=2",
    "optimizer.learning_rate=1e-3",
    "tracking.system_metrics=false",
)


def write_rows(folder: Path, changed_label: bool = False) -> None:
    """Writes rows of the demo task as train.csv, in which one label may be changed, and validation.csv."""
    demo = DataConfig(
        source=DataSource.demo,
        name="demo",
        text_columns=["question", "sentence"],
        metric="accuracy",
        demo_rows=300,
    )
    splits = load_splits(demo, test=False)
    folder.mkdir()
    for name, rows in (("train", splits.train), ("validation", splits.eval.select(range(100)))):
        labels = list(rows["label"])
        if changed_label and name == "train":
            labels[11] = 1 - labels[11]
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["question", "sentence", "label"])
            writer.writerows(zip(rows["question"], rows["sentence"], labels, strict=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `python train.py` ran once, on a table, with one thread."""
    folder = tmp_path_factory.mktemp("made")
    write_rows(folder / "rows")
    made(folder, "out")
    return folder


def made(folder: Path, out: str, *arguments: str) -> str:
    """Runs train.py; returns the run's id."""
    done = train(*ON_TABLE, "trainer.threads=1", f"hydra.run.dir={out}", *arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    return run_id(folder, out)


def run_id(folder: Path, out: str = "out") -> str:
    return str(json.loads((folder / out / "result.json").read_text())["run_id"])


def reproduce(folder: Path, *arguments: str, code: int = 0, cold: bool = False) -> dict[str, Any]:
    done = finesweep("reproduce", *arguments, "--json", cwd=folder, cold=cold)
    assert done.returncode == code, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def causes(answer: dict[str, Any]) -> list[str]:
    return [change["what"] for change in answer["changes"] if change["may_matter"]]


def store(folder: Path) -> TrackingConfig:
    return TrackingConfig(f"sqlite:///{folder}/mlruns/mlflow.db")


def runs(folder: Path) -> dict[str, Any]:
    client = open_store(store(folder))
    every = client.search_runs([e.experiment_id for e in client.search_experiments()])
    return {run.info.run_id: run for run in every}


def test_the_same_conditions_give_exactly_the_same_run(folder: Path) -> None:
    original = run_id(folder)
    answer = reproduce(folder, original, cold=True)
    assert answer["verdict"] == "EXACT"
    assert answer["changes"] == []
    assert answer["run_id"] == original
    assert {"loss", "eval_loss", "eval_accuracy", "grad_norm", "best_value"} <= {
        m["name"] for m in answer["metrics"]
    }
    assert {m["step"] for m in answer["metrics"]} == {19, 38, None}  # two epochs of 300 rows in batches of 16
    assert all(metric["then"] == metric["now"] for metric in answer["metrics"])
    assert answer["weights"]["then"] == answer["weights"]["now"] is not None
    new = runs(folder)[answer["reproduction_run_id"]]
    assert new.info.status == "FINISHED"
    assert new.data.tags["finesweep.reproduces"] == new.data.tags["mlflow.parentRunId"] == original
    assert new.data.tags["finesweep.verdict"] == "EXACT"


@pytest.mark.slow
def test_a_person_reads_the_conditions_then_a_table_then_the_verdict(folder: Path) -> None:
    done = finesweep("reproduce", run_id(folder), "trainer.threads=2", cwd=folder)
    assert done.stderr.index("threads  1     2") < done.stderr.index("trained: eval_accuracy")
    rows = [line.split() for line in done.stdout.splitlines() if line]
    assert rows[0] == ["metric", "step", "then", "now", "difference"]
    assert all(row[-1] != "0" for row in rows[1:]) and not any(row[:1] == ["epoch"] for row in rows)
    assert re.search(r"^metrics: \d+ of \d+ values equal$", done.stdout, re.MULTILINE)
    assert "verdict: WITHIN_TOLERANCE" in done.stdout
    assert "likely cause: threads (1 then, 2 now)" in done.stdout


@pytest.mark.long
def test_a_lower_instruction_set_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    answer = reproduce(folder, run_id(folder), "--tolerance", "0", code=1)
    assert answer["verdict"] == "DIFFERENT"
    assert causes(answer) == ["cpu_capability"]


@pytest.mark.long
def test_a_higher_instruction_set_is_lowered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("ATEN_CPU_CAPABILITY", "default")
        original = made(folder, "lesser")
    answer = reproduce(folder, original)
    assert answer["verdict"] == "EXACT"
    assert answer["changes"] == []


@pytest.mark.slow
def test_one_changed_label_is_named(folder: Path) -> None:
    write_rows(folder / "changed", changed_label=True)
    dry = finesweep("reproduce", run_id(folder), "data.path=changed", "--dry-run", "--json", cwd=folder)
    assert causes(json.loads(dry.stdout)) == ["data train: column label"]
    before = len(runs(folder))
    answer = reproduce(folder, run_id(folder), "data.path=changed", "--tolerance=0", code=1)
    assert answer["verdict"] == "DIFFERENT"
    assert causes(answer) == ["data train: column label"]
    assert len(runs(folder)) == before + 1  # the dry run made none


def with_path(*folders: Path) -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join(map(str, folders)), "HF_HUB_OFFLINE": "1"}


def reproduce_with(folder: Path, *paths: Path) -> dict[str, Any]:
    """Reproduces the shared run with other code first on Python's path, and expects another result."""
    command = [
        sys.executable,
        "-m",
        "finesweep.cli.main",
        "reproduce",
        run_id(folder),
        "--json",
        "--tolerance=0",
    ]
    environment = os.environ | with_path(*paths)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_one_edited_source_line_is_named(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    file = tmp_path / "src/finesweep/training/trainer.py"
    line = "self.generator.manual_seed(self.seed * 1_000_003 + self.epoch)"
    assert line in file.read_text()
    file.write_text(file.read_text().replace(line, line.replace("1_000_003", "1_000_033")))
    answer = reproduce_with(folder, tmp_path / "src")
    assert answer["verdict"] == "DIFFERENT"
    assert causes(answer) == ["code finesweep/training/trainer.py"]


@pytest.mark.long
def test_another_patch_of_a_package_is_named(folder: Path, tmp_path: Path) -> None:
    """The run imports a copy of accelerate that has the next version and clips gradients at half the norm."""
    import accelerate

    source = Path(accelerate.__file__).parent
    shutil.copytree(source, tmp_path / "accelerate", ignore=shutil.ignore_patterns("__pycache__"))
    file = tmp_path / "accelerate/accelerator.py"
    line = "torch.nn.utils.clip_grad_norm_(parameters, max_norm,"
    assert line in file.read_text()
    file.write_text(file.read_text().replace(line, line.replace("max_norm,", "max_norm / 2,")))
    major, minor, patch = accelerate.__version__.split(".")
    later = f"{major}.{minor}.{int(patch) + 1}"
    (tmp_path / f"accelerate-{later}.dist-info").mkdir()
    (tmp_path / f"accelerate-{later}.dist-info/METADATA").write_text(f"Name: accelerate\nVersion: {later}\n")
    answer = reproduce_with(folder, tmp_path, ROOT / "src")
    assert answer["verdict"] == "DIFFERENT"
    assert answer["cause"] == f"package accelerate ({accelerate.__version__} then, {later} now)"


@pytest.fixture
def no_rows(folder: Path) -> Iterator[None]:
    (folder / "rows").rename(folder / "elsewhere")
    yield
    (folder / "elsewhere").rename(folder / "rows")


def test_missing_data_is_named_with_exit_code_2(folder: Path, no_rows: None) -> None:
    before = len(runs(folder))
    done = finesweep("reproduce", run_id(folder), cwd=folder)
    assert done.returncode == 2
    assert "data.path: rows does not exist" in done.stderr
    assert "data.path=PLACE" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(runs(folder)) == before


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("0" * 32,), "not in sqlite:///mlruns/mlflow.db"),
        (("RUN", "trainer.threds=2"), "trainer.threds"),
        (("RUN", "data.labels=[a,b"), "data.labels=[a,b: "),
        (("RUN", "optimizer=sgd"), "optimizer=sgd: "),
        (("RUN", "tracking.uri=sqlite:///x.db"), "give that instead"),
        (("RUN", "--tracking-uri", "sqlite:///no.db"), "there is no sqlite:///no.db here"),
        (("RUN", "--best", "quickstart"), "legal: RUN_ID"),
        (("seed=3", "RUN"), "legal: RUN_ID"),
        ((), "nothing to reproduce"),
    ],
)
def test_wrong_arguments_are_refused_with_the_legal_ones(
    folder: Path, arguments: tuple[str, ...], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    given = [run_id(folder) if text == "RUN" else text for text in arguments]
    with pytest.raises((FinesweepError, OmegaConfBaseException)) as caught:
        main._invoke(["reproduce", *given])
    assert problem in str(caught.value)
    assert not (folder / "no.db").exists()


def test_an_exported_run_is_made_again_elsewhere(folder: Path, tmp_path: Path) -> None:
    """The new folder has the table under another name, and nothing else of the first one."""
    done = finesweep("export", run_id(folder), str(tmp_path / "exported"), cwd=folder)
    assert done.returncode == 0, done.stderr
    exported = tmp_path / "exported"
    assert {path.name for path in exported.iterdir()} >= {
        "README.md", "provenance.json", "run.json", "run.yaml", "constraints.txt", "checkpoint",
    }  # fmt: skip
    assert "finesweep reproduce DIR data.path=rows" in (exported / "README.md").read_text()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copytree(folder / "rows", elsewhere / "mine")
    answer = reproduce(elsewhere, "../exported", "data.path=mine")
    assert answer["verdict"] == "EXACT"
    new = runs(elsewhere)[answer["reproduction_run_id"]]
    assert new.data.tags["finesweep.reproduces"] == run_id(folder)

    cfg = train("--config-dir", str(exported), "--config-name", "run", "--cfg", "job", cwd=elsewhere)
    record = json.loads((exported / "provenance.json").read_text())
    unwritten = {"peft": None, "trainer": record["config"]["trainer"] | {"num_processes": 1}}
    assert yaml.safe_load(cfg.stdout) == record["config"] | unwritten

    with pytest.raises(OutputError, match="exists already"):
        export(load_recorded_run(run_id(folder), store(folder)), exported, store(folder))


@pytest.mark.long
def test_two_runs_side_by_side(folder: Path) -> None:
    second = made(folder, "second", "seed=43", "trainer.threads=2")
    done = finesweep("diff", run_id(folder), second, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["run_ids"] == [run_id(folder), second]
    differing = {(c["section"], c["what"]): (c["then"], c["now"]) for c in answer["differences"]}
    assert differing == {
        ("config", "seed"): (42, 43),
        ("config", "trainer.threads"): (1, 2),
        ("machine", "threads"): (1, 2),
    }
    assert {"eval_accuracy", "weights"} <= {row["what"] for row in answer["results"]}
    pair = [load_recorded_run(run, store(folder)) for run in (run_id(folder), second)]
    text = lines(diff_runs(*pair), ("first", "second"))
    assert "data: the same" in text
    assert "packages: the same" in text
    shown = [line.split()[0] for line in text.splitlines() if line]
    assert "weights" in shown and "state" not in shown  # both runs are COMPLETE
    assert re.search(r"^equal results: [1-9]\d* of \d+$", text, re.MULTILINE)
