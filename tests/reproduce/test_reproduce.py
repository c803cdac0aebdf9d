"""A run made again in a fresh process: the right verdict, and the right cause where it came out otherwise."""

import csv
import json
import os
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

pytestmark = pytest.mark.xdist_group("reproduce")  # one process makes what they share

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
    """Two tables of the demo's rows: train.csv, of which one label may be changed, and validation.csv."""
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
    """Where `python train.py` ran once, on a table, with one thread."""
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
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def causes(found: dict[str, Any]) -> list[str]:
    return [change["what"] for change in found["changes"] if change["may_matter"]]


def store(folder: Path) -> TrackingConfig:
    return TrackingConfig(f"sqlite:///{folder}/mlruns/mlflow.db")


def runs(folder: Path) -> dict[str, Any]:
    client = open_store(store(folder))
    found = client.search_runs([e.experiment_id for e in client.search_experiments()])
    return {run.info.run_id: run for run in found}


def test_the_same_ground_gives_exactly_the_same_run(folder: Path) -> None:
    original = run_id(folder)
    found = reproduce(folder, original, cold=True)
    assert found["verdict"] == "EXACT"
    assert found["changes"] == []
    assert found["run_id"] == original
    assert {"loss", "eval_loss", "eval_accuracy", "grad_norm", "best_value"} <= {
        m["name"] for m in found["metrics"]
    }
    assert {m["step"] for m in found["metrics"]} == {19, 38, None}  # two epochs of 300 rows in batches of 16
    assert all(metric["then"] == metric["now"] for metric in found["metrics"])
    assert found["weights"]["then"] == found["weights"]["now"] is not None
    new = runs(folder)[found["reproduction_run_id"]]
    assert new.info.status == "FINISHED"
    assert new.data.tags["finesweep.reproduces"] == new.data.tags["mlflow.parentRunId"] == original
    assert new.data.tags["finesweep.verdict"] == "EXACT"


def test_a_person_reads_the_ground_then_a_table_then_the_verdict(folder: Path) -> None:
    done = finesweep("reproduce", run_id(folder), "trainer.threads=2", cwd=folder)
    assert done.stderr.index("threads  1     2") < done.stderr.index("trained: eval_accuracy")
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[0] == ["metric", "step", "then", "now", "difference"]
    assert ["epoch", "19", "1", "1"] in rows
    assert "verdict: WITHIN_TOLERANCE" in done.stdout
    assert "likely cause: threads (1 then, 2 now)" in done.stdout


def test_less_of_a_cpu_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    found = reproduce(folder, run_id(folder), "--tolerance", "0", code=1)
    assert found["verdict"] == "DIFFERENT"
    assert causes(found) == ["cpu_capability"]


def test_more_of_a_cpu_is_held_down(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("ATEN_CPU_CAPABILITY", "default")
        original = made(folder, "lesser")
    found = reproduce(folder, original)
    assert found["verdict"] == "EXACT"
    assert found["changes"] == []


def test_one_changed_label_is_named(folder: Path) -> None:
    write_rows(folder / "changed", changed_label=True)
    dry = finesweep("reproduce", run_id(folder), "data.path=changed", "--dry-run", "--json", cwd=folder)
    assert causes(json.loads(dry.stdout)) == ["data train: column label"]
    before = len(runs(folder))
    found = reproduce(folder, run_id(folder), "data.path=changed", "--tolerance=0", code=1)
    assert found["verdict"] == "DIFFERENT"
    assert causes(found) == ["data train: column label"]
    assert len(runs(folder)) == before + 1  # the dry run made none


def with_path(*folders: Path) -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join(map(str, folders)), "HF_HUB_OFFLINE": "1"}


def reproduce_with(folder: Path, *paths: Path) -> dict[str, Any]:
    """With other code on Python's path."""
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
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_one_edited_source_line_is_named(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    file = tmp_path / "src/finesweep/training/trainer.py"
    line = "self.generator.manual_seed(self.seed * 1_000_003 + self.epoch)"
    assert line in file.read_text()
    file.write_text(file.read_text().replace(line, line.replace("1_000_003", "1_000_033")))
    found = reproduce_with(folder, tmp_path / "src")
    assert found["verdict"] == "DIFFERENT"
    assert causes(found) == ["code finesweep/training/trainer.py"]


def test_another_patch_of_a_package_is_named(folder: Path, tmp_path: Path) -> None:
    """A copy of accelerate that calls itself one patch later, and clips gradients at half the norm."""
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
    found = reproduce_with(folder, tmp_path, ROOT / "src")
    assert found["verdict"] == "DIFFERENT"
    assert found["cause"] == f"package accelerate ({accelerate.__version__} then, {later} now)"


@pytest.fixture
def no_rows(folder: Path) -> Iterator[None]:
    (folder / "rows").rename(folder / "elsewhere")
    yield
    (folder / "elsewhere").rename(folder / "rows")


def test_what_cannot_be_tried_says_why_with_exit_code_2(folder: Path, no_rows: None) -> None:
    before = len(runs(folder))
    done = finesweep("reproduce", run_id(folder), cwd=folder)
    assert done.returncode == 2
    assert "data.path: rows does not exist" in done.stderr
    assert "data.path=PLACE" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(runs(folder)) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
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
def test_what_makes_no_sense_is_refused_with_what_does(
    folder: Path, arguments: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    given = [run_id(folder) if text == "RUN" else text for text in arguments]
    with pytest.raises((FinesweepError, OmegaConfBaseException)) as caught:
        main._invoke(["reproduce", *given])
    assert said in str(caught.value)
    assert not (folder / "no.db").exists()


def test_an_exported_run_is_made_again_elsewhere(folder: Path, tmp_path: Path) -> None:
    """Nothing of the first machine but the table, under another name."""
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
    found = reproduce(elsewhere, "../exported", "data.path=mine")
    assert found["verdict"] == "EXACT"
    new = runs(elsewhere)[found["reproduction_run_id"]]
    assert new.data.tags["finesweep.reproduces"] == run_id(folder)

    cfg = train("--config-dir", str(exported), "--config-name", "run", "--cfg", "job", cwd=elsewhere)
    record = json.loads((exported / "provenance.json").read_text())
    assert yaml.safe_load(cfg.stdout) == record["config"]

    with pytest.raises(OutputError, match="is there already"):
        export(load_recorded_run(run_id(folder), store(folder)), exported, store(folder))


def test_two_runs_side_by_side(folder: Path) -> None:
    other = made(folder, "other", "seed=43", "trainer.threads=2")
    done = finesweep("diff", run_id(folder), other, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["run_ids"] == [run_id(folder), other]
    differing = {(c["section"], c["what"]): (c["then"], c["now"]) for c in found["differences"]}
    assert differing == {
        ("config", "seed"): (42, 43),
        ("config", "trainer.threads"): (1, 2),
        ("machine", "threads"): (1, 2),
    }
    assert {"eval_accuracy", "weights"} <= {row["what"] for row in found["results"]}
    pair = [load_recorded_run(run, store(folder)) for run in (run_id(folder), other)]
    text = lines(diff_runs(*pair), ("one", "other"))
    assert "data: the same" in text
    assert "packages: the same" in text
