"""The study's books: every planned trial finishes once, whoever dies when."""

import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from finesweep.config.run import Direction
from finesweep.config.study import SAMPLERS, StudyConfig
from finesweep.errors import ConfigError, StoreError, StudyError
from finesweep.hooks import RunState, TrialLost
from finesweep.study import claiming, studies, unwritten
from finesweep.study.liveness import GRACE_S, is_gone, this_owner
from finesweep.study.lock import Busy, study_lock
from finesweep.study.queue import TrialQueue
from finesweep.study.records import Outcome, TrialRecord
from finesweep.study.recovering import GONE, end_lost_trials
from finesweep.study.samplers import try_out
from finesweep.study.selection import failures
from finesweep.study.space import Dimension
from finesweep.study.storage import open_storage

SPACE = tuple(Dimension(name, name, FloatDistribution(0, 1)) for name in "xy")


def queue(
    tmp_path: Path, direction: Direction = Direction.maximize, first: Sequence[dict[str, float]] = (),
    **settings: object,
) -> TrialQueue:  # fmt: skip
    """first: points that a person enqueued."""
    store = {"name": "s", "storage": f"sqlite:///{tmp_path}/optuna.db"}
    config = StudyConfig(**store | settings)  # type: ignore[arg-type]
    studies.create(config, {"m": direction}, list(first), {"n_trials": config.n_trials, "metric": "m"})
    return TrialQueue(config, SPACE)


DEAD = f"{this_owner().rpartition('|')[0]}|1.00"  # this pid, but of a process that started long ago


def value(trial: optuna.Trial) -> float:
    return float(trial.params["x"] - trial.params["y"] ** 2)


def complete(books: TrialQueue, number: int, value: float) -> None:
    books.sign_off(number, Outcome(RunState.COMPLETE, [value]))
    books.tell(number)


def hand_back(books: TrialQueue, number: int) -> None:
    books.sign_off(number, Outcome(RunState.INTERRUPTED))
    books.tell(number)


def recover(books: TrialQueue, reason: str | None = GONE) -> list[tuple[int, str]]:
    """The trials that were ended, and as what their runs were closed."""
    closed: list[tuple[int, str]] = []
    assert end_lost_trials(books, reason, lambda number, state: closed.append((number, state))) == len(closed)
    return closed


def run_out(books: TrialQueue) -> list[dict[str, float]]:
    points = []
    while trial := books.next_trial():
        complete(books, trial.number, value(trial))
        points.append(trial.params)
    return points


def test_the_budget_counts_finished_trials_over_the_studys_life(tmp_path: Path) -> None:
    assert len(run_out(queue(tmp_path, n_trials=3))) == 3
    assert run_out(queue(tmp_path, n_trials=3)) == []
    assert len(run_out(queue(tmp_path, n_trials=5))) == 2


def test_a_running_trial_is_spoken_for(tmp_path: Path) -> None:
    books = queue(tmp_path, n_trials=2)
    assert books.next_trial() and books.next_trial()
    assert books.next_trial() is None


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "gp"])
def test_an_interrupted_study_suggests_what_an_undisturbed_one_would(tmp_path: Path, sampler: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    undisturbed = run_out(queue(tmp_path / "a", n_trials=14, sampler=sampler))
    books, points = queue(tmp_path / "b", n_trials=14, sampler=sampler), []
    while trial := books.next_trial():
        if trial.number in (0, 5, 12):
            hand_back(books, trial.number)
            books = queue(tmp_path / "b", n_trials=14, sampler=sampler)
            continue
        complete(books, trial.number, value(trial))
        points.append(trial.params)
    assert points == undisturbed
    if sampler != "gp":  # which may return to its optimum
        assert len({tuple(point.values()) for point in points}) == 14


def test_samplers_with_their_options_by_name(tmp_path: Path) -> None:
    assert len(run_out(queue(tmp_path, n_trials=3, sampler="cmaes"))) == 3
    books = queue(tmp_path, n_trials=4, sampler_options={"n_startup": 5})
    with pytest.raises(ConfigError, match="sampler_options.*n_startup.*tpe sampler"):
        books.next_trial()


def take_and_die(tmp_path: Path, after: str) -> None:
    """A worker that is killed at a named place."""

    def die(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if after == "ask":
        claiming.this_owner = die  # type: ignore[assignment]
    books = queue(tmp_path, n_trials=3)
    trial = books.next_trial()
    assert trial is not None
    if after == "requeue":
        books.study.tell = die  # type: ignore[method-assign,assignment]
        hand_back(books, trial.number)
    die()


@pytest.mark.parametrize("place", ["ask", "owner", "requeue"])
def test_a_killed_worker_loses_no_trial(tmp_path: Path, place: str) -> None:
    books = queue(tmp_path, n_trials=3)
    worker = multiprocessing.get_context("fork").Process(target=take_and_die, args=(tmp_path, place))
    worker.start()
    worker.join()
    assert worker.exitcode == -signal.SIGKILL
    assert recover(books) == [(0, "INTERRUPTED")]
    assert recover(books) == []
    run_out(books)
    states = [trial.state for trial in books.trials()]
    assert states == [TrialState.FAIL] + [TrialState.COMPLETE] * 3
    assert TrialRecord(books.trials()[1]).retry_of == 0
    if books.trials()[0].params:
        assert books.trials()[1].params == books.trials()[0].params


def test_retries_are_bounded_and_the_last_one_is_a_failure(tmp_path: Path) -> None:
    books = queue(tmp_path, n_trials=2, max_retries=2)
    for _ in range(3):
        trial = books.next_trial()
        assert trial is not None
        TrialRecord.writable(books.study, books.trials()[trial.number]).owner = DEAD
        recover(books)
    (failed,) = failures(books.trials())
    assert failed.number == 2
    assert "after 2 retries" in TrialRecord(failed).error
    assert len(run_out(books)) == 2


def test_an_interruption_costs_no_retry(tmp_path: Path) -> None:
    books = queue(tmp_path, n_trials=1, max_retries=0)
    for _ in range(3):
        trial = books.next_trial()
        assert trial is not None
        hand_back(books, trial.number)
    assert len(run_out(books)) == 1
    assert failures(books.trials()) == []


def test_an_enqueued_point_survives_a_worker_that_dies_inside_of_ask(tmp_path: Path) -> None:
    books = queue(tmp_path, n_trials=1)
    books.study.enqueue_trial({"x": 0.125, "y": 0.5})
    books.study.ask()  # taken, nothing suggested yet, no owner
    recover(books)
    assert run_out(books) == [{"x": 0.125, "y": 0.5}]


def test_max_failures_ends_the_study(tmp_path: Path) -> None:
    books = queue(tmp_path, n_trials=9, max_failures=2)
    for _ in range(2):
        trial = books.next_trial()
        assert trial is not None
        books.sign_off(trial.number, Outcome(RunState.FAIL, error="ValueError: no"))
        books.tell(trial.number)
    assert books.next_trial() is None


def test_a_recovery_talks_to_mlflow_without_the_lock_and_its_claim_is_final(tmp_path: Path) -> None:
    books = queue(tmp_path, n_trials=2)
    trial = books.next_trial()
    assert trial is not None
    TrialRecord(trial).owner = DEAD

    def close_run(number: int, state: RunState) -> None:
        with study_lock(books.config.storage, "s", wait=False):
            pass
        TrialRecord(trial).owner = this_owner()  # its owner was only paused, and wakes up now
        with pytest.raises(TrialLost):
            complete(books, number, 1.0)

    assert end_lost_trials(books, GONE, close_run) == 1
    assert [trial.state.name for trial in books.trials()] == ["FAIL", "WAITING"]


def test_a_recovery_that_fails_or_dies_halfway_leaves_the_trial_to_the_next_one(tmp_path: Path) -> None:
    books = queue(tmp_path, n_trials=2)
    trial = books.next_trial()
    assert trial is not None
    TrialRecord(trial).owner = DEAD

    def hang(number: int, state: RunState) -> None:
        raise StoreError("MLflow's store did not answer")

    with pytest.raises(StoreError):
        end_lost_trials(books, GONE, hang)
    assert TrialRecord(books.trials()[0]).recoverer is None
    TrialRecord(trial).recovered_since = time.time()
    TrialRecord(trial).recoverer = f"elsewhere|{DEAD.partition('|')[2]}"
    assert recover(books) == []  # somebody else is at it
    TrialRecord(trial).recoverer = DEAD
    assert recover(books) == [(0, "INTERRUPTED")]
    assert TrialRecord(books.trials()[1]).worker_deaths == 1  # one death, however many recoveries


def test_a_worker_that_was_told_to_stop_and_killed_before_it_had_saved_is_no_death(tmp_path: Path) -> None:
    """An engine kills what has not ended some seconds after its signal."""
    books = queue(tmp_path, n_trials=1, max_retries=0)
    trial = books.next_trial()
    assert trial is not None
    record = TrialRecord(trial)
    record.told_to_stop, record.owner = True, DEAD
    assert recover(books) == [(0, "INTERRUPTED")]
    retry = books.trials()[1]
    assert retry.state.name == "WAITING" and not TrialRecord(retry).worker_deaths


def test_an_outcome_that_its_worker_could_not_write_is_told_by_the_recovery(tmp_path: Path) -> None:
    books = queue(tmp_path, n_trials=2)
    for owner in (this_owner(), "another|1|1.00"):  # the second folder holds what another try has left
        trial = books.next_trial()
        assert trial is not None
        folder = tmp_path / str(trial.number)
        TrialRecord(trial).folder = str(folder)
        unwritten.keep(folder, Outcome(RunState.COMPLETE, [0.5]))
        kept = (folder / unwritten.FILE).read_text()
        (folder / unwritten.FILE).write_text(
            kept.replace(this_owner(), DEAD if owner == this_owner() else owner)
        )
        TrialRecord(trial).owner = DEAD
    assert recover(books) == [(0, "COMPLETE"), (1, "INTERRUPTED")]
    assert books.trials()[0].value == 0.5


def test_a_worker_that_was_thought_dead_cannot_finish_its_trial(tmp_path: Path) -> None:
    books = queue(tmp_path, n_trials=2)
    trial = books.next_trial()
    assert trial is not None
    TrialRecord.writable(books.study, books.trials()[0]).owner = "elsewhere|1|0.00"
    TrialRecord.writable(books.study, books.trials()[0]).heartbeat = time.time() - GRACE_S - 1
    recover(books)
    with pytest.raises(TrialLost):
        complete(books, trial.number, 1.0)
    assert books.trials()[0].state is TrialState.FAIL


@pytest.mark.parametrize(
    ("owner", "beat", "gone"),
    [
        (None, None, True),
        (this_owner(), 0.0, False),
        (DEAD, None, True),
        ("elsewhere|1|0.00", 0.0, False),
        ("elsewhere|1|0.00", -GRACE_S - 1, True),
    ],
    ids=["unsigned", "this process", "dead", "elsewhere", "elsewhere, long silent"],
)
def test_an_owner_is_gone_at_once_here_and_after_the_grace_period_elsewhere(
    owner: str | None, beat: float | None, gone: bool
) -> None:
    assert is_gone(owner, None if beat is None else 1000.0 + beat, 1000.0) is gone


def hold(storage: str, held: object, release: object) -> None:
    with study_lock(storage, "s"):
        held.set()  # type: ignore[attr-defined]
        release.wait()  # type: ignore[attr-defined]


def test_a_lock_is_free_again_when_its_holder_is_killed(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    held, release = context.Event(), context.Event()
    holder = context.Process(target=hold, args=(f"sqlite:///{tmp_path}/o.db", held, release))
    holder.start()
    held.wait()
    with pytest.raises(Busy), study_lock(f"sqlite:///{tmp_path}/o.db", "s", wait=False):
        pass
    holder.kill()
    with study_lock(f"sqlite:///{tmp_path}/o.db", "s"):
        pass


def test_unknown_studies_and_storages_are_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="there is no sqlite:///.*start a study"):
        studies.load("t", f"sqlite:///{tmp_path}/optuna.db")
    assert not list(tmp_path.iterdir())
    queue(tmp_path)
    with pytest.raises(StudyError, match="study 't': not in .*there: s"):
        studies.load("t", f"sqlite:///{tmp_path}/optuna.db")
    with pytest.raises(ConfigError, match="storage: got 'redis://x'; legal: sqlite:///FILE, or postgresql"):
        open_storage("redis://x")


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_only_a_sampler_that_can_is_given_several_objectives(sampler: str) -> None:
    objectives = {"accuracy": Direction.maximize, "loss": Direction.minimize}
    config = StudyConfig(name="s", sampler=sampler, objectives=objectives)
    if sampler == "cmaes":
        with pytest.raises(ConfigError, match="sampler: got 'cmaes'; legal: tpe, random, grid, gp, qmc with"):
            try_out(config, SPACE)
    else:
        try_out(config, SPACE)
