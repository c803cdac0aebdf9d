"""The study's books in PostgreSQL, for more than one host: a real server, on loopback."""

import gc
import multiprocessing
import signal
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import sqlalchemy
from processes import SMALL, start, train
from serving import PostgresServer
from test_pausing import (
    check_that_many_workers_promote_no_trial_twice,
    falling,
    lineage,
    pausing_queue,
    promote_and_die,
)
from test_pausing import run_out as run_out_pausing
from test_pausing import train as train_until_rung
from test_study import SPACE, hand_back, hold, recover, run_out

from finesweep.config.run import Direction
from finesweep.config.study import StudyConfig
from finesweep.errors import StoreAway, StudyError
from finesweep.hooks import RunState
from finesweep.study import studies
from finesweep.study.lock import Busy, study_lock
from finesweep.study.queue import TrialQueue
from finesweep.study.records import Outcome, TrialRecord
from finesweep.study.selection import is_running

pytestmark = pytest.mark.xdist_group("postgres")  # one process makes what they share

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def storage(server: PostgresServer) -> str:
    return server.url


def queue(storage: str, name: str, n_trials: int) -> TrialQueue:
    config = StudyConfig(name=name, storage=storage, n_trials=n_trials)
    studies.create(config, {"m": Direction.maximize}, [], {"n_trials": n_trials, "metric": "m"})
    return TrialQueue(config, SPACE)


def connections(storage: str) -> int:
    engine = sqlalchemy.create_engine(storage, poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
        return int(connection.scalar(sqlalchemy.text(query)) or 0)


def test_who_waits_for_a_study_that_is_not_there_yet_holds_no_connection(storage: str) -> None:
    queue(storage, "here", 1).close()
    gc.disable()  # it would close them at some time
    try:
        before = connections(storage)
        for _ in range(9):
            with pytest.raises(StudyError, match="'elsewhere': not in"):
                studies.load("elsewhere", storage)
        await_(lambda: connections(storage) <= before, "the server has ended them")
    finally:
        gc.enable()


def await_(happened: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.1)


def test_a_study_runs_and_recovers_there(storage: str) -> None:
    books = queue(storage, "s", 3)
    first = books.next_trial()
    assert first is not None
    hand_back(books, first.number)
    assert run_out(books)[0] == first.params
    assert [trial.state.name for trial in books.trials()] == ["FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]


@pytest.mark.parametrize("behind", [150, -150])
def test_a_host_whose_clock_is_wrong_neither_loses_nor_takes_a_trial(
    storage: str, monkeypatch: pytest.MonkeyPatch, behind: float
) -> None:
    books = queue(storage, f"clock{behind}", 1)
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() - behind)
    trial = books.next_trial()
    assert trial is not None
    TrialRecord(trial).owner = "elsewhere|1|0.00"  # with the heartbeat that this host wrote
    monkeypatch.setattr(time, "time", right)
    assert recover(books) == []


def work(storage: str) -> None:
    run_out(queue(storage, "shared", 6))


def test_two_workers_share_the_budget_there(storage: str) -> None:
    workers = [FORK.Process(target=work, args=(storage,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert [trial.state.name for trial in queue(storage, "shared", 6).trials()] == ["COMPLETE"] * 6


def test_many_workers_promote_no_paused_trial_twice_there(storage: str, tmp_path: Path) -> None:
    check_that_many_workers_promote_no_trial_twice(tmp_path, storage=storage, name="promoted")


def test_a_promotion_whose_worker_dies_was_none_there(storage: str, tmp_path: Path) -> None:
    """It is one transaction: undone, not half done."""
    store = {"storage": storage, "name": "undone"}
    books = pausing_queue(tmp_path, n_trials=2, **store)
    for _ in range(2):
        trial = books.next_trial()
        assert trial is not None
        train_until_rung(books, trial, falling)
    books.close()
    process = FORK.Process(target=promote_and_die, args=(tmp_path,), kwargs=store)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    books = pausing_queue(tmp_path, n_trials=2, **store)
    assert len(books.trials()) == 2
    run_out_pausing(books)
    assert [ordinal for ordinal, state, _ in lineage(books) if state == "COMPLETE"] == [0]
    assert [continued for *_, continued in lineage(books)[:3]] == [None, None, 0]


def test_its_lock_is_free_again_when_the_holder_is_killed(storage: str) -> None:
    held, release = FORK.Event(), FORK.Event()
    holder = FORK.Process(target=hold, args=(storage, held, release))
    holder.start()
    assert held.wait(30)
    with pytest.raises(Busy), study_lock(storage, "s", wait=False):
        pass
    holder.kill()
    with study_lock(storage, "s"):
        pass


def test_a_restart_is_survived_by_connections_and_locks_from_before(server: PostgresServer) -> None:
    books = queue(server.url, "restarted", 2)
    trial = books.next_trial()
    assert trial is not None
    server.stop()
    server.start()
    hand_back(books, trial.number)  # over a connection that the restart has closed
    server.stop()
    threading.Timer(0.5, server.start).start()
    retry = books.patience.call(books.next_trial)
    assert retry is not None
    with pytest.raises(StoreAway), books.lock():
        server.stop()
        threading.Timer(0.5, server.start).start()
        books.trials()  # not repeated here: nobody holds this lock any more
    books.sign_off(retry.number, Outcome(RunState.COMPLETE, [0.5]))
    books.tell(retry.number)
    assert [trial.state.name for trial in books.trials()] == ["FAIL", "COMPLETE"]
    assert TrialRecord(books.trials()[1]).worker_deaths == 0


@pytest.mark.slow
def test_a_sweep_goes_on_when_the_server_was_away(server: PostgresServer, tmp_path: Path) -> None:
    small = [*SMALL, "hydra.sweeper.study.n_trials=2", "predict=false", "trainer.num_train_epochs=2"]
    sweep = start("-m", *small, f"hydra.sweeper.study.storage={server.url}", cwd=tmp_path)
    books = None
    while books is None or not is_running(books.trials()):
        assert sweep.poll() is None
        with suppress(StudyError):
            books = TrialQueue(StudyConfig(name="quickstart", storage=server.url), SPACE)
    server.stop()
    time.sleep(3)
    server.start()
    stdout, stderr = sweep.communicate(timeout=200)
    assert sweep.returncode == 0, stderr
    # A trial that was taken while the server stopped, and has no owner yet, is handed on.
    assert "2 of 2 trials finished (COMPLETE 2" in stdout
    assert "Traceback" not in stderr


@pytest.mark.slow
def test_a_sweep_there_writes_no_password(storage: str, tmp_path: Path) -> None:
    """Not in Hydra's files, not in MLflow; two workers, who get it through their environment."""
    canary = f"canary%2F{uuid.uuid4().hex}"
    secret = storage.replace("sweeper@", f"sweeper:{canary}@")
    small = [*SMALL, "hydra.sweeper.study.n_trials=2", "predict=false", "hydra.sweeper.study.name=secret"]
    done = train("-m", *small, f"hydra.sweeper.study.storage={secret}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 trials finished" in done.stdout
    assert canary not in done.stdout + done.stderr
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any("FINESWEEP_SECRET" in path.read_text(errors="replace") for path in written)
    assert not [path for path in written if canary.encode() in path.read_bytes()]
