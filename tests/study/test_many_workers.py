"""Many workers of one study: who takes what, at which price, and what a kill or a silent holder leaves."""

import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pooling
import psycopg
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial
from serving import PostgresServer
from sqlalchemy import event
from test_study import SPACE, complete, recover, run_out

from finesweep.config.run import Direction
from finesweep.config.study import StudyConfig
from finesweep.errors import StoreAway
from finesweep.hooks import RunState
from finesweep.study import claiming, drawing, heartbeat, opened, studies
from finesweep.study import queue as queues
from finesweep.study.queue import TrialQueue
from finesweep.study.records import Limits, Outcome, Progress, StudyRecord, TrialRecord
from finesweep.study.steering import extend, halt, open_for_steering, steered, stop_trial, try_point
from finesweep.study.storage import open_storage

pytestmark = pytest.mark.xdist_group("postgres")  # one process makes what they share
FORK = multiprocessing.get_context("fork")


@pytest.fixture(params=["sqlite", "postgresql"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/optuna.db"
    server: PostgresServer = request.getfixturevalue("server")
    return server.url


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)  # the server keeps the studies of other tests


def queue(storage: str, name: str, n_trials: int = 3, **settings: Any) -> TrialQueue:
    config = StudyConfig(name=name, storage=storage, n_trials=n_trials, **settings)
    studies.create(config, {"m": Direction.maximize}, [], {"n_trials": n_trials, "metric": "m"})
    return TrialQueue(config, SPACE)


def finished_trial(index: int) -> FrozenTrial:
    distributions = {
        "a": FloatDistribution(1e-5, 1, log=True),
        "b": IntDistribution(0, 9),
        "c": CategoricalDistribution(["x", None, True]),
    }
    return create_trial(
        state=[TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL][index % 3],
        values=None if index % 3 else [math.inf, -0.1],
        params={"a": 0.1 + index / 7000, "b": index % 10, "c": [None, True, "x"][index % 3]},
        distributions=distributions,
        intermediate_values={5: math.nan, 20: -math.inf, 60: 1 / 3},
        user_attrs={"text": "ü", "list": [1, None]},
        system_attrs={"fixed_params": {"b": 3}},
    )


def comparable(trial: FrozenTrial) -> dict[str, Any]:
    """nan is not equal to itself."""
    values = {step: repr(value) for step, value in trial.intermediate_values.items()}
    return trial.__dict__ | {"intermediate_values": values}


def test_trials_are_read_as_optuna_reads_them(storage: str, name: str) -> None:
    directions = [optuna.study.StudyDirection.MAXIMIZE] * 2
    opened = open_storage(storage)
    study = optuna.create_study(storage=opened, study_name=name, directions=directions)
    study.add_trials([finished_trial(index) for index in range(7)])
    study.enqueue_trial({"a": 0.5})
    study.enqueue_trial({"b": 2})
    study.ask().suggest_float("a", 1e-5, 1, log=True)
    expected = RDBStorage(storage).get_all_trials(study._study_id)
    found = studies.load(name, storage).get_trials()
    assert len(found) == 9
    for ours, theirs in zip(found, expected, strict=True):
        assert comparable(ours) == comparable(theirs)
        assert list(ours.params) == list(theirs.params)
    assert comparable(opened.get_trial(found[8]._trial_id)) == comparable(found[8])


def take_all(storage: str, name: str, taken: Any) -> None:
    books = queue(storage, name, 24)
    while trial := books.next_trial():
        taken.put((trial.number, TrialRecord(trial).ordinal, os.getpid()))
        complete(books, trial.number, 0.5)


def test_no_two_processes_take_the_same_trial_or_suggestion(storage: str, name: str) -> None:
    books = queue(storage, name, 24)
    for index in range(8):
        books.study.enqueue_trial({"x": index / 10, "y": 0.5})
    taken = FORK.SimpleQueue()
    workers = [FORK.Process(target=take_all, args=(storage, name, taken)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    every = []
    while not taken.empty():
        every.append(taken.get())
    assert sorted(number for number, _, _ in every) == list(range(24))
    assert sorted(ordinal for _, ordinal, _ in every) == list(range(24))
    assert [trial.state.name for trial in books.trials()] == ["COMPLETE"] * 24


def take_and_die(storage: str, name: str, place: str) -> None:
    def die(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)
        signal.pause()

    books = queue(storage, name)
    if place == "unowned":
        claiming.write_trial = die  # type: ignore[assignment]
    elif place == "undrawn":
        queues.draw = die  # type: ignore[assignment]
    elif place == "unwritten":
        drawing.suggest = lambda *_: (books.study, die())  # type: ignore[assignment,return-value]
    books.next_trial()
    die()


@pytest.mark.parametrize("place", ["unowned", "undrawn", "unwritten", "begun"])
def test_a_worker_that_is_killed_while_it_takes_a_trial_loses_no_suggestion(
    storage: str, name: str, tmp_path: Path, place: str
) -> None:
    undisturbed = run_out(queue(f"sqlite:///{tmp_path}/undisturbed.db", "s"))
    books = queue(storage, name)
    worker = FORK.Process(target=take_and_die, args=(storage, name, place))
    worker.start()
    worker.join(60)
    assert worker.exitcode == -signal.SIGKILL
    undone = place == "unowned" and books.backend.is_server  # the transaction was not committed
    assert recover(books) == ([] if undone else [(0, "INTERRUPTED")])
    assert run_out(books) == undisturbed
    retries = [trial for trial in map(TrialRecord, books.trials()) if trial.retry_of is not None]
    assert [bool(retry.worker_deaths) for retry in retries] == ([] if undone else [place == "begun"])


def test_what_a_transaction_that_failed_has_read_and_made_is_forgotten(
    server: PostgresServer, name: str
) -> None:
    books = queue(server.url, name)
    with pytest.raises(ZeroDivisionError), books.lock():
        books.study.enqueue_trial({"x": 0.25, "y": 0.5})
        assert len(books.trials()) == 1
        1 / 0  # noqa: B018
    assert books.trials() == books.skim() == []
    assert len(run_out(books)) == 3


def hold_and_stop(storage: str, name: str, held: Any, undone: Any) -> None:
    books = queue(storage, name)
    try:
        with books.lock():
            books.study.enqueue_trial({"x": 0.25, "y": 0.5})
            held.set()
            os.kill(os.getpid(), signal.SIGSTOP)
            books.trials()
    except StoreAway:
        undone.set()


def test_a_holder_of_the_lock_that_falls_silent_loses_it_and_what_it_did(
    server: PostgresServer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped process is to the server what one is whose network is gone."""
    books = queue(server.url, name)
    monkeypatch.setattr(opened, "IDLE", "1s")
    held, undone = FORK.Event(), FORK.Event()
    holder = FORK.Process(target=hold_and_stop, args=(server.url, name, held, undone))
    holder.start()
    assert held.wait(60)
    try:
        assert books.next_trial() is not None  # waits until the server gives the holder up
        assert len(books.trials()) == 1
    finally:
        assert holder.pid is not None
        os.kill(holder.pid, signal.SIGCONT)
        holder.join(60)
    assert undone.is_set()


def test_who_waits_for_long_asks_again_and_gets_the_lock(
    server: PostgresServer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = queue(server.url, name), queue(server.url, name)
    monkeypatch.setattr(opened, "WAIT", "100ms")
    with one.lock():
        waiting = threading.Thread(target=two.next_trial)
        waiting.start()
        time.sleep(0.5)
        assert waiting.is_alive()
    waiting.join(60)
    assert [trial.state for trial in one.trials()] == [TrialState.RUNNING]


def test_the_server_notices_soon_that_a_worker_has_vanished(server: PostgresServer, name: str) -> None:
    backend = queue(server.url, name).backend
    limits = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout")
    for limit, value in zip(limits, ("10", "5", "3", "30000"), strict=True):
        assert backend.execute(f"SELECT current_setting('{limit}')")[0] == value


@contextmanager
def statements(books: TrialQueue) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    event.listen(books.backend.engine, "before_cursor_execute", note)
    yield seen
    event.remove(books.backend.engine, "before_cursor_execute", note)


def test_a_worker_has_one_connection_and_a_heartbeat_is_one_statement(
    server: PostgresServer, name: str
) -> None:
    books = queue(f"{server.url}?application_name={name[:40]}", name)
    trial = books.next_trial()
    assert trial is not None
    assert heartbeat.beat(trial, None) == ([], None, False)
    StudyRecord(books.study).write_all(stopped_commands=["somebody"], halted=7.0)
    stop_trial(books, trial.number)
    with statements(books) as seen:
        heard = heartbeat.beat(trial, Progress(step=7))
    assert len(seen) == 1
    assert (list(heard.stopped_commands), heard.halted, heard.trial_is_stopped) == (["somebody"], 7.0, True)
    record = TrialRecord(books.trials()[0])
    assert record.progress == Progress(step=7)
    assert record.started is not None and record.heartbeat is not None
    assert record.heartbeat > record.started
    heartbeat.beat(trial, None)
    assert TrialRecord(books.trials()[0]).progress == Progress(step=7)
    with psycopg.connect(server.url) as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
        # One is of the study that was made here.
        assert connection.execute(query, [name[:40]]).fetchone() == (2,)
    complete(books, trial.number, 0.5)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        heartbeat.beat(trial, None)


def test_a_person_steers_a_study_from_another_connection(storage: str, name: str) -> None:
    books = queue(storage, name, 2)
    StudyRecord(books.study).write_all(space=SPACE, limits=Limits())
    trial = books.next_trial()
    assert trial is not None
    person = open_for_steering(name, storage)
    assert try_point(person, {"x": 0.25}).trial == 1
    extend(person, {"n_trials": 3})
    assert stop_trial(person, 0) is TrialState.RUNNING
    halt(person)
    heard = heartbeat.beat(trial, None)
    assert heard.trial_is_stopped and heard.halted is not None
    books.sign_off(0, Outcome(RunState.INTERRUPTED))
    books.tell(0)
    assert [point["x"] == 0.25 for point in run_out(books)] == [True, False]
    assert [one.state.name for one in books.trials()] == ["PRUNED", "COMPLETE", "COMPLETE"]
    asked = ["try x=0.25", "extend n_trials=3", "stop trial 0", "stop"]
    assert sorted(one.what for one in steered(books.study)) == sorted(asked)


def test_a_trial_is_signed_off_and_told_without_the_studys_lock(server: PostgresServer, name: str) -> None:
    one, two = queue(server.url, name), queue(server.url, name)
    trial = one.next_trial()
    assert trial is not None
    with two.lock():
        complete(one, trial.number, 0.5)
    assert [trial.state for trial in two.trials()] == [TrialState.COMPLETE]


def test_a_recovery_leaves_a_trial_alone_that_somebody_holds(server: PostgresServer, name: str) -> None:
    one, two = queue(server.url, name), queue(server.url, name)
    trial = one.next_trial()
    assert trial is not None
    one.let_go(trial.number)  # lost, and its owner is at it all the same
    with one.holding(trial.number):
        assert recover(two) == []
    assert recover(two) == [(0, "INTERRUPTED")]


def test_a_server_without_a_free_connection_is_waited_for(server: PostgresServer, name: str) -> None:
    queue(server.url, name)
    role = f"limited_{os.getpid()}"
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 1")
        connection.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
        connection.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}")
    limited = server.url.replace("sweeper@", f"{role}@")
    occupied = psycopg.connect(limited)
    threading.Timer(1.0, occupied.close).start()
    config = StudyConfig(name=name, storage=limited, n_trials=3)
    books = TrialQueue(config, SPACE)
    assert occupied.closed
    trial = books.next_trial()
    assert trial is not None
    complete(books, trial.number, 0.5)


def test_workers_share_the_connections_of_a_pool(server: PostgresServer, name: str) -> None:
    if not pooling.is_installed():
        pytest.skip("no PgBouncer on this machine")
    with pooling.bouncer(server, 2) as pooled:
        books, taken = queue(pooled, name, 24), FORK.SimpleQueue()
        workers = [FORK.Process(target=take_all, args=(pooled, name, taken)) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(120)
            assert worker.exitcode == 0
        assert [trial.state.name for trial in books.trials()] == ["COMPLETE"] * 24
        assert sorted(filter(None, (TrialRecord(one).ordinal for one in books.trials()))) == list(
            range(1, 24)
        )
    assert Outcome(RunState.COMPLETE, [0.5]) == TrialRecord(queue(server.url, name, 24).trials()[3]).outcome
