"""A worker knows when its engine ends it, and takes no trial that it could not finish."""

import os
import signal
import time
from pathlib import Path

import pytest
from gates import GATED, let_through, shut
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from processes import SMALL, finesweep, start
from sweeping import STORAGE
from test_sweep import running

from finesweep.cluster import slurm
from finesweep.config.run import Direction
from finesweep.config.study import StudyConfig
from finesweep.errors import StoreError
from finesweep.hooks import RunState
from finesweep.study import studies
from finesweep.study.queue import TrialQueue
from finesweep.study.records import Conclusion, Outcome, Progress, StudyRecord, TrialRecord
from finesweep.study.remaining import conclusion_counts, has_work
from finesweep.study.signals import stop
from finesweep.study.space import Dimension
from finesweep.study.steering import halt
from finesweep.worker.allotment import Allotment, longest_s
from finesweep.worker.requeue import starting_again


def tries(*durations: float, state: TrialState = TrialState.COMPLETE, first: int = 0) -> list[FrozenTrial]:
    """One trial with so many tries, of which the last has the state; they are numbered from `first`."""
    made = []
    for index, seconds in enumerate(durations):
        attrs = TrialRecord.attributes(
            started=1000.0 + index, heartbeat=1000.0 + index + seconds,
            retry_of=first + index - 1 if index else None,
        )  # fmt: skip
        last = index == len(durations) - 1
        ended = state if last else TrialState.FAIL
        value = 1.0 if ended is TrialState.COMPLETE else None
        made.append(create_trial(state=ended, value=value, user_attrs=attrs))
    return made


def test_a_trial_takes_as_long_as_its_tries_together_and_only_complete_ones_count() -> None:
    trials = [
        *tries(50),
        *tries(40, 30, 20, first=1),
        *tries(500, state=TrialState.FAIL, first=4),
        *tries(400, state=TrialState.PRUNED, first=5),
    ]
    assert longest_s(trials) == pytest.approx(90)
    assert longest_s([]) == 0.0


def test_a_trial_is_admitted_if_the_longest_one_would_fit() -> None:
    trials = tries(50)
    assert Allotment(None).admits(trials) and Allotment(time.time() + 100).admits(trials)
    assert not Allotment(time.time() + 20).admits(trials)
    assert Allotment(time.time() + 20).admits([]) and not Allotment(time.time() - 1).admits([])
    assert "20 s are left" in (why := Allotment(time.time() + 20.4).explain(trials)) and "took 50 s" in why


SPACE = (Dimension("x", "x", FloatDistribution(0, 1)),)


def queue(tmp_path: Path, n_trials: int) -> TrialQueue:
    config = StudyConfig(name="s", storage=f"sqlite:///{tmp_path}/optuna.db", n_trials=n_trials)
    studies.create(config, {"m": Direction.maximize}, [], {"n_trials": n_trials, "metric": "m"})
    return TrialQueue(config, SPACE)


def run_trial(books: TrialQueue, outcome: Outcome) -> None:
    """Trains a step of the next trial."""
    trial = books.next_trial()
    assert trial is not None
    TrialRecord(trial).progress = Progress(trained_steps=1)
    books.sign_off(trial.number, outcome)
    books.tell(trial.number)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What SLURM, of which this process seems to be a job, was asked to start again."""
    tasks: list[str] = []

    def requeue(task: str) -> str:
        tasks.append(task)
        return "SLURM queues it again"

    monkeypatch.setattr(slurm, "requeue", requeue)
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
    return tasks


def interrupted_by(number: int | None, books: TrialQueue, allotment: Allotment, steps: bool = True) -> None:
    stop.signal = number
    with pytest.raises(KeyboardInterrupt), starting_again(books, allotment):
        if steps:
            run_trial(books, Outcome(RunState.INTERRUPTED))
        raise KeyboardInterrupt


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM])
def test_a_signal_of_the_engine_has_the_worker_started_again(
    asked: list[str], tmp_path: Path, number: int
) -> None:
    interrupted_by(number, queue(tmp_path, n_trials=2), Allotment())
    assert asked == ["7_0"]


def test_what_a_person_stops_is_not_started_again(asked: list[str], tmp_path: Path) -> None:
    interrupted_by(None, queue(tmp_path, n_trials=2), Allotment())
    assert asked == []


def test_a_worker_without_work_is_not_started_again_and_others_need_not_begin(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancelled: list[str] = []
    monkeypatch.setattr(slurm, "cancel_waiting", cancelled.append)
    books = queue(tmp_path, n_trials=1)
    run_trial(books, Outcome(RunState.COMPLETE, [0.5]))
    with starting_again(books, Allotment()):
        assert has_work(books), "the finish step is left"
    assert cancelled == []
    StudyRecord(books.study).conclusion = Conclusion(trials=conclusion_counts(books), best=0)
    interrupted_by(signal.SIGTERM, TrialQueue(books.config, SPACE), Allotment(), steps=False)
    assert asked == [] and cancelled == []
    with starting_again(TrialQueue(books.config, SPACE), Allotment()):
        pass
    assert asked == [] and cancelled == [], "a person's own array may have workers of other studies"
    with starting_again(TrialQueue(books.config, SPACE), Allotment(), "host|boot|1|2|3"):
        pass
    assert asked == [] and cancelled == ["7_0"]


def test_a_stop_of_the_launching_command_asks_for_no_start_and_a_store_that_is_away_hides_no_signal(
    asked: list[str], tmp_path: Path
) -> None:
    books = queue(tmp_path, n_trials=2)
    StudyRecord(books.study).stopped_commands = ["host|boot|1|2|3"]
    with starting_again(TrialQueue(books.config, SPACE), Allotment(time.time() - 1), "host|boot|1|2|3"):
        run_trial(books, Outcome(RunState.INTERRUPTED))
    assert asked == []
    stop.signal = signal.SIGTERM
    with pytest.raises(StoreError), starting_again(books, Allotment()):
        raise StoreError("away")
    assert asked == ["7_0"]


def test_a_worker_of_a_study_whose_work_a_person_has_stopped_asks_for_no_start(
    asked: list[str], tmp_path: Path
) -> None:
    books = queue(tmp_path, n_trials=2)
    halt(books)
    with starting_again(books, Allotment(time.time() - 1), "host|boot|1|2|3"):
        run_trial(books, Outcome(RunState.INTERRUPTED))
    assert asked == []


def test_a_worker_of_the_former_space_of_an_edited_study_is_not_started_again(
    asked: list[str], tmp_path: Path
) -> None:
    books = queue(tmp_path, n_trials=2)
    StudyRecord(books.study).write_all(outside=[], identity={"space": {"x": "another range"}})
    interrupted_by(signal.SIGTERM, books, Allotment(), steps=False)
    assert asked == []


def test_slurms_commands_may_be_missing_where_its_variables_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.delenv("SLURM_JOB_END_TIME", raising=False)
    assert slurm.end_time() is None
    assert "SLURM does not start this worker again: scontrol: No such file" in slurm.requeue("7")


def test_lack_of_time_has_the_worker_started_again(asked: list[str], tmp_path: Path) -> None:
    books = queue(tmp_path, n_trials=2)
    with starting_again(books, Allotment(time.time() + 100)):
        run_trial(books, Outcome(RunState.INTERRUPTED))
    assert asked == []
    with starting_again(books, Allotment(time.time() - 1)):
        run_trial(books, Outcome(RunState.INTERRUPTED))
    assert asked == ["7_0"]


def test_a_time_limit_that_allows_no_step_of_training_does_not_start_a_worker_over_and_over(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    books = queue(tmp_path, n_trials=2)
    interrupted_by(signal.SIGUSR1, books, Allotment(time.time() - 1), steps=False)
    assert asked == ["7_0"], "the first start may only have been slow"
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    interrupted_by(signal.SIGUSR1, books, Allotment(time.time() - 1), steps=False)
    assert asked == ["7_0"] and "the time limit is too short" in capsys.readouterr().err
    interrupted_by(signal.SIGTERM, books, Allotment(time.time() + 100), steps=False)  # preempted early
    assert asked == ["7_0"] * 2


@pytest.mark.slow
def test_a_worker_takes_its_first_trial_whatever_is_left_and_no_second_one(tmp_path: Path) -> None:
    """Nothing starts it again outside of SLURM. The command that launched it was killed."""
    shut(tmp_path)
    sweep = start("-m", *SMALL, "hydra.sweeper.workers=1", "optimizer.learning_rate=1e-3,1e-4,3e-4", *GATED,
                  "hydra.sweeper.study.sampler=grid", "predict=false", cwd=tmp_path)  # fmt: skip
    running(tmp_path, sweep)
    os.killpg(sweep.pid, signal.SIGKILL)
    sweep.communicate(timeout=60)
    let_through(tmp_path)
    before = states()
    worked = finesweep("worker", "quickstart", "--time-limit", "1", "--reserve", "0", cwd=tmp_path)
    assert worked.returncode == 0, worked.stderr
    assert "1 trials ended here; the study is not over, but 0 s are left of its time" in worked.stderr
    assert states().count("COMPLETE") == before.count("COMPLETE") + 1
    wrong = finesweep("worker", "quickstart", "--time-limit", "-1", cwd=tmp_path)
    assert wrong.returncode == 2 and "--time-limit: got '-1'; legal: seconds" in wrong.stderr


def states() -> list[str]:
    return [trial.state.name for trial in studies.load("quickstart", STORAGE).trials]
