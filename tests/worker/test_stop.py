"""Stopped, taken over, out of room: a trial is handed on, and goes on from where it was."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from processes import SMALL, start, train
from sweeping import STORAGE, evaluate, runs, sweep
from test_sweep import running

from finesweep.config.run import RunConfig, TrackingConfig
from finesweep.hooks import Noise, RunHooks, current_hooks
from finesweep.io import checkpoint
from finesweep.study import studies
from finesweep.study.liveness import GRACE_S
from finesweep.study.places import places_of
from finesweep.study.queue import TrialQueue
from finesweep.study.records import TrialRecord
from finesweep.study.recovering import GONE
from finesweep.tracking import open_store
from finesweep.training.run import run
from finesweep.worker.recovery import recover

GRID = ("optimizer.learning_rate=1e-3,1e-4", "trainer.num_train_epochs=1", "hydra.sweeper.study.sampler=grid",
        "trainer.per_device_train_batch_size=8")  # fmt: skip


@dataclass
class Stopped:
    """A trial whose run is asked to stop after so many steps."""

    after: int
    steps: int = 0
    run_name: str = "trial-0000"
    tags: dict[str, str] = field(default_factory=dict)
    metrics: frozenset[str] = frozenset()
    predicts: bool = False
    wants_noise: bool = False

    @property
    def stopping(self) -> bool:
        return self.steps >= self.after

    def progress(self, **fields: float | str) -> None:
        self.steps = int(fields["step"])

    def ending(self, state: str, error: BaseException | None) -> str:
        return state

    def started(self, run_id: str) -> None: ...
    def loaded(self, rows: Mapping[str, str], model: str | None) -> None: ...
    def check(self) -> None: ...
    def evaluated(self, value: float, progress: float) -> None: ...
    def saved(self) -> None: ...
    def trained(
        self, value: float, metrics: dict[str, float], checkpoint: str, noise: Noise | None = None
    ) -> None: ...


def history(config: RunConfig) -> list[tuple[str, int, float]]:
    """Every metric that the last run logged, but for times."""
    client = open_store(config.tracking)
    last = client.search_runs([e.experiment_id for e in client.search_experiments()])[0]
    found = []
    for key in last.data.metrics:
        if not key.endswith(("runtime", "per_second")):
            logged = client.get_metric_history(last.info.run_id, key)
            found += [(metric.key, metric.step, metric.value) for metric in logged]
    return sorted(found)


def test_a_run_that_is_asked_to_stop_saves_at_once_and_resumes_to_the_same_weights_and_metrics(
    config: Callable[..., RunConfig], tmp_path: Path
) -> None:
    settings = ("trainer.num_train_epochs=2", "model.dropout=0.1", "optimizer.learning_rate=1e-3")
    alone = config(*settings, "tracking.uri=sqlite:///a.db")
    undisturbed = run(alone, tmp_path / "a")
    again = config(*settings, "tracking.uri=sqlite:///b.db")
    token = current_hooks.set(Stopped(after=16))  # of 2 x 13 steps: no evaluation is near
    try:
        with pytest.raises(KeyboardInterrupt):
            run(again, tmp_path / "b")
    finally:
        current_hooks.reset(token)
    assert {path.name for path in (tmp_path / "b/training").glob("step-*")} == {"step-000013", "step-000017"}
    resumed = run(again, tmp_path / "b")
    before, after = (Path(str(r.checkpoint)) / "model.safetensors" for r in (undisturbed, resumed))
    assert checkpoint.sha256(before) == checkpoint.sha256(after)
    assert resumed.metrics["eval_accuracy"] == undisturbed.metrics["eval_accuracy"]
    assert history(again) == history(alone)  # the run that went on has the whole of it


@pytest.mark.usefixtures("no_finish")
def test_a_worker_that_was_thought_dead_leaves_the_trial_to_who_took_it_over() -> None:
    """It was paused for longer than the grace period, wakes up, and goes on as if nothing had been."""

    def training(config: RunConfig, trial: RunHooks) -> float:
        if trial.run_name == "trial-0000":
            study = studies.load("quickstart", STORAGE)
            other = TrialQueue(studies.StudyConfig(name="quickstart", storage=STORAGE), ())
            TrialRecord.writable(other.study, study.trials[0]).owner = "elsewhere|1|0.00"
            TrialRecord.writable(other.study, study.trials[0]).heartbeat = time.time() - GRACE_S - 1
            assert recover(other, TrackingConfig(), GONE) == 1
        return evaluate(trial, [0.5])

    study = sweep(training, *GRID)
    assert [trial.state.name for trial in study.trials] == ["FAIL", "COMPLETE", "COMPLETE"]
    statuses = {name: run.info.status for name, run in runs().items()}
    assert statuses["trial-0000"] == "KILLED"
    assert [statuses[f"trial-{t.number:04d}"] for t in study.trials[1:]] == ["FINISHED"] * 2
    assert "best_value" in runs()["trial-0001"].data.metrics


@pytest.mark.slow
def test_sigterm_to_the_launching_process_alone_hands_the_trials_back(tmp_path: Path) -> None:
    """As SLURM or an init system ends it; its workers hear of it through the study."""
    arguments = ["-m", *SMALL[2:], "data.demo_rows=4000", "trainer.num_train_epochs=8,9",
                 "optimizer.learning_rate=1e-3", "trainer.per_device_train_batch_size=8"]  # fmt: skip
    process = start(*arguments, cwd=tmp_path)
    number = running(tmp_path, process).number
    os.kill(process.pid, signal.SIGTERM)
    process.communicate(timeout=150)
    assert process.returncode == 130
    study = studies.load("quickstart", STORAGE)
    handed_back = study.trials[number]
    assert TrialRecord(handed_back).outcome.state == "INTERRUPTED"
    assert not [trial for trial in study.trials if trial.state.name == "RUNNING"]
    folder = places_of(study).find(TrialRecord(handed_back).folder)
    assert list(folder.glob("training/step-*/manifest.json"))
    assert {run.info.status for run in runs().values()} == {"KILLED"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB, where this user may make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "finesweep-test", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this user may not mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
def test_a_disk_that_fills_up_stops_the_sweep_and_the_same_command_goes_on(
    tmp_path: Path, small_disk: Path
) -> None:
    arguments = ["-m", *SMALL, "trainer.per_device_train_batch_size=8,16", "optimizer.learning_rate=1e-3",
                 "hydra/launcher=basic", "hydra.sweeper.study.sampler=grid",
                 f"hydra.sweep.dir={small_disk}/study"]  # fmt: skip
    (small_disk / "filler").write_bytes(b"x" * 2_500_000)
    full = train(*arguments, cwd=tmp_path)
    assert full.returncode == 2, full.stderr
    assert "error: trial 0: " in full.stderr and "the same command goes on" in full.stderr
    assert "Traceback" not in full.stderr
    (small_disk / "filler").unlink()
    subprocess.run(["mount", "-o", "remount,size=60m", str(small_disk)], check=True)
    done = train(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    states = [trial.state.name for trial in studies.load("quickstart", STORAGE).trials]
    assert states == ["FAIL", "COMPLETE", "COMPLETE"]
