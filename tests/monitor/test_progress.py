"""What a person sees of a study, while it runs and from another shell."""

import io
import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.exceptions import StorageInternalError
from optuna.study import Study
from optuna.trial import TrialState, create_trial
from processes import FINESWEEP, SMALL, finesweep, start
from rich.console import Console
from terminals import Terminal

from finesweep.config.run import Direction
from finesweep.config.study import StudyConfig
from finesweep.errors import StoreAway
from finesweep.monitor import eta, live, progress
from finesweep.monitor.events import beginning, ending
from finesweep.monitor.live import STOPPING, Watcher
from finesweep.monitor.snapshot import take_snapshot
from finesweep.monitor.table import live_table
from finesweep.monitor.wording import axis_labels, clock, short
from finesweep.study import clock as study_clock
from finesweep.study import studies
from finesweep.study.liveness import this_owner
from finesweep.study.lock import study_lock
from finesweep.study.records import StudyRecord, TrialRecord
from finesweep.study.signals import stop

KEY = "optimizer.learning_rate"
SPACE = {KEY: FloatDistribution(1e-4, 1e-2, log=True)}
DEAD = f"{this_owner().rpartition('|')[0]}|1.00"  # this pid, but of a process that started long ago
STEPS = {"step": 30, "max_steps": 90, "trained_steps": 20}  # of a trial that went on from step 10
LIVE = STEPS | {"epoch": 1.0, "examples_per_s": 512.3, "value": 0.75}


def study(tmp_path: Path, objectives: dict[str, Direction] | None = None, **attrs: Any) -> Study:
    config = StudyConfig(name="s", storage=f"sqlite:///{tmp_path}/optuna.db", n_trials=6)
    objectives = objectives or {"accuracy": Direction.maximize}
    known = {
        "n_trials": config.n_trials,
        "metric": next(iter(objectives)),
        "objectives": {name: direction.value for name, direction in objectives.items()},
        "identity": {"seed": 42, "data.metric": "accuracy"},
        "glue_task": None,
    }
    return studies.create(config, objectives, [], known | attrs)


def add(
    study: Study,
    state: str,
    values: list[float] | None = None,
    ago: float = 60,
    lasted: float = 20,
    **attrs: Any,
) -> int:
    """A trial that began `ago` seconds ago, as a worker of this process leaves it. Returns its number."""
    now = study_clock.now(study)
    trial = create_trial(
        state=TrialState[state], values=values, params={KEY: 0.002}, distributions=SPACE,
        user_attrs=TrialRecord.attributes(
            owner=this_owner(), heartbeat=now, run_id="r", overrides=[]) | attrs,
    )  # fmt: skip
    trial.datetime_start = datetime.fromtimestamp(now) - timedelta(seconds=ago)
    if trial.state.is_finished():
        trial.datetime_complete = trial.datetime_start + timedelta(seconds=lasted)
    study.add_trial(trial)
    return len(study.get_trials(deepcopy=False)) - 1


def drawn(study: Study, width: int, height: int = 24, notes: list[str] | None = None) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    with console.capture() as shown:
        console.print(live_table(take_snapshot(study), console, notes or []))
    return [line.rstrip() for line in shown.get().splitlines()]


@pytest.mark.usefixtures("still")
def test_the_table_says_who_runs_what_how_far_and_how_long_yet(tmp_path: Path) -> None:
    known = study(tmp_path)
    add(known, "COMPLETE", [0.9])
    add(known, "RUNNING", ago=10, live=LIVE)
    heading, row, counts, finished, times = drawn(known, 160)
    assert " ".join(heading.split()) == "worker trial epoch step examples/s accuracy ETA parameters"
    # 20 of its steps in 10 s, 60 to go; the 10 that it found done before took no time.
    assert " ".join(row.split()) == f"{os.getpid()} 1 1.00 30/90 512 0.7500 0:30 lr=2e-3"
    assert counts == "COMPLETE 1  PRUNED 0  FAIL 0  RUNNING 1  WAITING 0"
    assert finished == "1/6 finished | best accuracy 0.9000 (trial 0)"
    assert times.startswith("elapsed 0:30 | ETA 1:")


@pytest.mark.parametrize("width", [80, 100, 160])
def test_no_line_is_wider_than_the_terminal_nor_is_anything_wrapped(tmp_path: Path, width: int) -> None:
    known = study(tmp_path, {"matthews_correlation": Direction.maximize})
    live = LIVE | {"step": 12345, "max_steps": 45678, "trained_steps": 12345, "value": -0.12345}
    add(known, "RUNNING", live=live, confirms=3, seed=44)
    add(known, "RUNNING", live=live, owner="a-host-with-a-long-name-0123.example.org|3123456|1.00")
    lines = drawn(known, width, notes=[STOPPING])
    assert len(lines) == 1 + 2 + 3 + 1
    assert max(map(len, lines)) <= width
    assert "confirms 3, seed 44" in lines[1]
    assert "0123:3123456" in lines[2]
    assert "12345/45678" in lines[2] and "-0.1235" in lines[2]


def test_totals_stay_on_the_screen_however_many_workers_there_are(tmp_path: Path) -> None:
    known = study(tmp_path)
    for number in range(40):
        add(known, "RUNNING", owner=f"host-{number}|7|1.00")
    lines = drawn(known, 80, height=20, notes=[STOPPING])
    assert len(lines) < 20
    assert "... and 28 more" in lines
    assert lines[-1] == STOPPING


def test_a_trial_of_a_dead_worker_says_so_and_has_no_eta(tmp_path: Path) -> None:
    known = study(tmp_path)
    add(known, "RUNNING", live=LIVE, owner=DEAD)
    assert drawn(known, 120)[1].split()[-6:] == ["0.7500", "-", "its", "worker", "is", "gone"]


@pytest.mark.usefixtures("still")
def test_the_studys_eta_counts_workers_confirmations_and_no_reused_trial(tmp_path: Path) -> None:
    known = study(tmp_path, confirm={"top_k": 1, "seeds": 4})
    assert eta.of_study(take_snapshot(known)) is None
    add(known, "COMPLETE", [0.9], lasted=20)
    add(known, "COMPLETE", [0.9], lasted=0, reused_of=0)
    add(known, "RUNNING", ago=5)
    # 3 + 4 trials of 20 s, and 15 s of one that runs, one after the other
    assert eta.of_study(take_snapshot(known)) == pytest.approx(7 * 20 + 15, abs=1)
    add(known, "RUNNING", ago=5, owner="elsewhere|1|1.00")
    assert eta.of_study(take_snapshot(known)) == pytest.approx((6 * 20 + 2 * 15) / 2, abs=1)
    assert take_snapshot(known).to_confirm == 4


def test_the_studys_eta_keeps_to_a_budget_of_seconds(tmp_path: Path) -> None:
    known = study(tmp_path, history=[{"timeout_s": 65, "max_train_steps": None}])
    add(known, "COMPLETE", [0.9], ago=60, lasted=60)
    assert eta.of_study(take_snapshot(known)) == pytest.approx(5, abs=1)


def test_a_line_says_how_a_trial_came_about(tmp_path: Path) -> None:
    known = study(tmp_path)
    add(known, "COMPLETE", [0.9])
    add(known, "COMPLETE", [0.9], reused_of=0)
    add(known, "COMPLETE", [0.8], confirms=0, seed=44)
    add(known, "FAIL", error="ValueError: no")
    add(known, "FAIL", deaths=1)
    add(known, "WAITING", retry_of=4, deaths=2)
    add(known, "FAIL")
    snapshot = take_snapshot(known)
    lines = [ending(snapshot, trial) for trial in snapshot.trials]
    assert lines[0] == "trial 0 COMPLETE in 20 s: accuracy 0.9000 | the best | 2/6 | lr=2e-3"
    assert lines[1].startswith("trial 1 COMPLETE (as trial 0, not trained again): accuracy 0.9000 | ")
    confirms = "trial 2 COMPLETE (confirms trial 0, seed 44) in 20 s"
    assert lines[2] == f"{confirms}: accuracy 0.8000 | 1/1 confirming"
    assert lines[3] == "trial 3 FAIL in 20 s: ValueError: no"
    assert lines[4] == "trial 4 handed back after 20 s: its worker died; it will be tried again"
    assert lines[6] == "trial 6 handed back after 20 s: interrupted; it will be tried again"


def test_a_trial_without_memory_is_told_in_one_line(tmp_path: Path) -> None:
    known = study(tmp_path)
    add(known, "FAIL")
    add(known, "WAITING", retry_of=0, extra=["trainer.per_device_train_batch_size=4"])
    snapshot = take_snapshot(known)
    told = ending(snapshot, snapshot.trials[0])
    assert told == "trial 0 handed back after 20 s: a GPU's memory ran out; again with half the batch"


def test_several_objectives_are_shown_by_name(tmp_path: Path) -> None:
    known = study(tmp_path, {"train_runtime": Direction.minimize, "accuracy": Direction.maximize})
    add(known, "COMPLETE", [1234.56, 0.9])
    add(known, "COMPLETE", [12.5, 0.8])
    add(known, "RUNNING", live=LIVE)
    snapshot = take_snapshot(known)
    values, best, *_ = ending(snapshot, snapshot.trials[0]).split(" | ")
    assert values == "trial 0 COMPLETE in 20 s: train_runtime 1234.6, accuracy 0.9000"
    assert best == "front of 2"
    lines = drawn(known, 120)
    assert lines[0].split()[5] == "accuracy"  # of each evaluation, rather than the first objective
    assert lines[-2] == "2/6 finished | front of 2, best train_runtime 12.5000 (trial 1)"


def test_conditional_parameters_go_by_their_key(tmp_path: Path) -> None:
    known = study(tmp_path)
    name = "optimizer.momentum|optimizer.name=sgd"
    known.add_trial(
        create_trial(value=0.5, params={name: "[1]"}, distributions={name: CategoricalDistribution(["[1]"])})
    )
    snapshot = take_snapshot(known)
    assert ending(snapshot, snapshot.trials[0]).endswith("momentum=[1]")


def test_names_are_short_and_tell_parameters_apart() -> None:
    usual = {"optimizer.learning_rate": 0.0012942, "trainer.num_train_epochs": 4.0,
             "trainer.per_device_train_batch_size": 64}  # fmt: skip
    assert short(usual) == "lr=1.29e-3 epochs=4 batch=64"
    apart = {"optimizer.name": "sgd", "model.name": "demo", "optimizer.momentum": 0.9, "model": "demo"}
    assert short(apart) == "optimizer.name=sgd model.name=demo momentum=0.9 model=demo"
    sizes = {
        "model.architecture.hidden_size": 64,
        "model.dropout": 0.0,
        "seed": 3,
        "optimizer.adam_epsilon": 1e-8,
    }
    assert short(sizes) == "hidden_size=64 dropout=0 seed=3 adam_epsilon=1e-8"


def test_an_axis_has_short_names_that_tell_parameters_apart() -> None:
    names = ["optimizer.learning_rate", "optimizer.momentum|optimizer=sgd", "model.name", "data.name"]
    assert axis_labels(names) == {
        "optimizer.learning_rate": "learning_rate",
        "optimizer.momentum|optimizer=sgd": "momentum\noptimizer=sgd",
        "model.name": "model.name",
        "data.name": "data.name",
    }


def test_the_line_of_an_event_fits_100_columns(tmp_path: Path) -> None:
    known = study(tmp_path, {"matthews_correlation": Direction.maximize}, n_trials=120)
    keys = [f"model.architecture.a_long_name_{index}" for index in range(6)]
    for _ in range(2):
        known.add_trial(
            create_trial(
                value=0.5,
                params=dict.fromkeys(keys, 0.00123456),
                distributions=dict.fromkeys(keys, FloatDistribution(0, 1)),
            )
        )
    snapshot = take_snapshot(known)
    for trial in snapshot.trials:
        for line in (beginning(trial), ending(snapshot, trial)):
            assert len(line) <= 100 and line.endswith("=1.23e-3 ...")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.4, "0:00"), (59.6, "1:00"), (727, "12:07"), (3600, "1:00:00"), (97920, "1d 03:12")],
)
def test_durations_read_like_a_clock(seconds: float | None, text: str) -> None:
    assert clock(seconds) == text


class Away:
    """`look_at` over a storage that is away for a while."""

    def __init__(self, *errors: Exception | None) -> None:
        self.errors = list(errors)

    def __call__(self, study: Study) -> Any:
        if error := self.errors.pop(0):
            raise error
        return take_snapshot(study)


def test_a_storage_that_is_away_is_said_once_and_the_watcher_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known = study(tmp_path)
    add(known, "COMPLETE", [0.9])
    away = Away(None, StorageInternalError("locked\nat length"), ValueError(), None, OSError("away"), None)
    monkeypatch.setattr(live, "take_snapshot", away)
    seen: list[bool] = []

    def is_over(snapshot: object) -> bool:
        seen.append(snapshot is not None)
        return len(seen) == 5

    Watcher(known, set(), is_over).watch()
    assert seen == [True, False, False, True, False]
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "cannot be read" in line] == [
        "the study cannot be read just now: StorageInternalError: locked",
        "the study cannot be read just now: OSError: away",
    ]
    assert sum(line.startswith("trial 0 COMPLETE") for line in lines) == 1


def test_a_stop_is_told_to_the_workers_once_under_the_lock_also_if_the_storage_was_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known, held, told = study(tmp_path), list[int](), list[bool]()

    def tell(study: Study) -> None:
        told.append(bool(held))
        if len(told) == 1:
            raise OSError("away")

    @contextmanager
    def lock() -> Iterator[None]:
        held.append(1)
        try:
            yield
        finally:
            held.clear()

    looks = iter(range(4))
    monkeypatch.setattr(stop, "write_to", tell)
    with stop.listening("here:1"):
        os.kill(os.getpid(), signal.SIGINT)
        Watcher(known, set(), lambda _: next(looks) == 3, lock).watch()
    assert told == [True, True]
    assert capsys.readouterr().err.splitlines().count(STOPPING) == 1


def test_what_is_told_names_the_command(tmp_path: Path) -> None:
    known = study(tmp_path)
    with stop.listening("here:1"):
        os.kill(os.getpid(), signal.SIGINT)
        Watcher(known, set(), lambda _: True).watch()
    assert StudyRecord(known).stopped_commands == ["here:1"]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """`follow` does not wait from look to look; the list has how often it would have."""
    waits: list[float] = []
    monkeypatch.setattr(progress.time, "sleep", waits.append)
    return waits


def test_following_ends_when_nobody_is_at_work(tmp_path: Path, quick: list[float]) -> None:
    known = study(tmp_path)
    add(known, "COMPLETE", [0.9])
    add(known, "RUNNING", owner=DEAD)
    progress.follow(known, f"sqlite:///{tmp_path}/optuna.db")
    assert len(quick) == progress.QUIET - 1


def test_following_a_finished_study_ends_at_once(tmp_path: Path, quick: list[float]) -> None:
    known = study(tmp_path, conclusion={"trials": [1, 0], "best": 0})
    add(known, "COMPLETE", [0.9])
    progress.follow(known, f"sqlite:///{tmp_path}/optuna.db")
    assert quick == []


def test_following_waits_for_workers_that_start_and_for_the_finish_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now().isoformat(timespec="seconds")
    known = study(tmp_path, history=[{"time": now}])
    storage = f"sqlite:///{tmp_path}/optuna.db"
    with_steps: list[Callable[[], object]] = [
        lambda: add(known, "COMPLETE", [0.9], ago=-1, lasted=0),  # the workers have come
        lambda: lock.__enter__(),
        lambda: None,
        lambda: None,
        lambda: None,
        lambda: lock.__exit__(None, None, None),
    ]
    lock = study_lock(storage, "s:finish")
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if with_steps:
            with_steps.pop(0)()

    monkeypatch.setattr(progress.time, "sleep", sleep)
    progress.follow(known, storage)
    assert with_steps == []
    assert len(waits) == 6 + progress.QUIET - 1


def test_status_shows_the_running_trials_after_the_summary(tmp_path: Path) -> None:
    known = study(tmp_path)
    add(known, "COMPLETE", [0.9])
    add(known, "RUNNING", live=LIVE)
    storage = f"sqlite:///{tmp_path}/optuna.db"
    shown = finesweep("status", "s", "--storage", storage, cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    summary, table = shown.stdout.strip().split("\n\n")
    assert summary.startswith("study s: 1 of 6 trials finished")
    commands = [line.strip() for line in summary.splitlines() if line.startswith("  ")]
    assert commands[:2] == ["python train.py", "finesweep reproduce r"]  # whole, and nothing else in the line
    heading, row = table.splitlines()
    assert heading.startswith("worker") and "30/90" in row and row == row.rstrip()
    plain = finesweep("status", "s", "--storage", storage, "--json", cwd=tmp_path)
    assert json.loads(plain.stdout)["states"]["RUNNING"] == 1


def test_status_refuses_to_watch_in_json(tmp_path: Path) -> None:
    refused = finesweep("status", "s", "--watch", "--json", cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stdout == "" and refused.stderr.count("\n") == 1
    assert "--watch" in refused.stderr and "--json" in refused.stderr


def test_watching_in_a_terminal_ends_with_ctrl_c_and_leaves_the_cursor(tmp_path: Path) -> None:
    known = study(tmp_path)
    add(known, "RUNNING", live=LIVE)
    storage = f"sqlite:///{tmp_path}/optuna.db"
    watching = ("status", "s", "--watch", "--storage", storage)
    with Terminal(*watching, program=FINESWEEP, cwd=tmp_path) as terminal:
        assert "30/90" in terminal.read_until("0/6 finished")
        os.killpg(terminal.process.pid, signal.SIGINT)
        seen = terminal.read()
        stdout, _ = terminal.process.communicate(timeout=60)
    assert terminal.process.returncode == 130
    assert stdout == "" and "interrupted" in seen
    assert "\x1b[?25h" in seen  # the cursor is shown again


@pytest.mark.slow
def test_a_sweep_in_a_terminal_draws_its_table_over_and_leaves_a_line_for_each_trial(tmp_path: Path) -> None:
    longer = ("data.demo_rows=600", "trainer.num_train_epochs=3", *SMALL[2:])  # than a few polls
    words = ("-m", *longer, "hydra.sweeper.study.n_trials=2", "trainer.per_device_train_batch_size=8,16")
    with Terminal(*words, "hydra/launcher=basic", cwd=tmp_path) as terminal:
        seen = terminal.read()
        stdout, _ = terminal.process.communicate(timeout=60)
    assert terminal.process.returncode == 0, seen
    assert "2 of 2 trials finished" in stdout and "\x1b" not in stdout
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen))
    for number in (0, 1):
        assert sum(line.startswith(f"trial {number} COMPLETE") for line in lines) == 1
    assert "the workers are starting" in lines
    assert any(line.startswith("worker  trial  epoch") for line in lines)
    assert seen.count("\x1b[?25l") == seen.count("\x1b[?25h") - 1  # one more, at the end, does no harm


def test_watching_without_a_terminal_prints_one_line_per_event_then_the_summary(tmp_path: Path) -> None:
    known = study(tmp_path)
    began = time.monotonic()
    number = add(known, "RUNNING", live=LIVE)  # for a minute
    process = start(
        "status", "s", "--watch", "--storage", f"sqlite:///{tmp_path}/optuna.db",
        cwd=tmp_path, program=FINESWEEP,
    )  # fmt: skip
    assert process.stderr
    assert process.stderr.readline() == "trial 0 started: lr=2e-3\n"
    known.tell(number, 0.7)
    passed = time.monotonic() - began
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0
    ended = re.match(r"trial 0 COMPLETE in (\d+) s: ", stderr)
    assert ended and 60 <= int(ended[1]) <= 61 + passed and stderr.count("\n") == 1
    assert "study s: 1 of 6 trials finished (COMPLETE 1)" in stdout


def test_a_database_that_is_away_at_the_finish_steps_lock_ends_no_watching(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(*_: object, **__: object) -> None:
        raise StoreAway("does not answer")

    monkeypatch.setattr(progress, "is_locked", away)
    idle = SimpleNamespace(is_starting=False, running=[], is_gone=lambda _: True)
    assert progress._somebody_works(idle, "s", "postgresql://u@h/db")  # type: ignore[arg-type]
