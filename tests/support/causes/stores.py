"""The two stores, locked, frozen, stopped and killed at random moments of a sweep, 20 in all.

The moments are drawn by a seed. A sweep that is over before they are spent is followed by another one in a
fresh folder, with stores of its own.
"""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path

import psutil
from campaign import Command, Plan
from serving import PostgresServer, free_port, mlflow_process, postgres_server
from stalling import lock

from causes.base import Came, Skipped, Sweep, fault

PLAN = Plan(n_trials=8, rows=200, cold=False)
Moment = tuple[str, float]  # what happens to which store, and for how many seconds
Disturb = Callable[[str, float], None]
Opened = tuple[Sweep, Disturb]


def _at_random_moments(
    folder: Path, stores: Callable[[Path], AbstractContextManager[Opened]], moments: list[Moment]
) -> Came:
    rng, pending, all_came = random.Random(0), list(moments), []
    rng.shuffle(pending)
    while pending:
        (own := folder / str(len(all_came))).mkdir()
        with stores(own) as (sweep, disturb):
            command = sweep.start()
            sweep.until_training(command)
            while pending and _moment_comes(command, rng.uniform(0.0, 3.0)):
                disturb(*pending.pop())
            command.wait(lambda command=command: command.over)
            all_came.append(sweep.judge(set(), None, complaint=command.complaint() if command.code else ""))
    details = "; ".join(came.detail for came in all_came if came.detail)
    lost, right = sum(came.lost for came in all_came), all(came.right for came in all_came)
    return Came(lost, None, right, details, len(moments))


def _moment_comes(command: Command, seconds: float) -> bool:
    """Waits for so long; tells whether the sweep is still running."""
    until = time.monotonic() + seconds
    return bool(command.wait(lambda: time.monotonic() > until))


@contextmanager
def _sqlite(folder: Path) -> Iterator[Opened]:
    def hold(file: str, seconds: float) -> None:
        with closing(lock(folder / "mlruns" / file)):
            time.sleep(seconds)

    yield Sweep(folder, PLAN), hold


@fault()
def sqlite_files_are_locked(folder: Path) -> Came:
    """Another process writes into them, for longer too than Optuna (5 s) and MLflow (20 s) wait."""
    files, seconds = ("optuna.db", "mlflow.db"), (0.5, 2.0, 6.0, 12.0, 35.0)
    return _at_random_moments(folder, _sqlite, [(file, each) for file in files for each in seconds])


@contextmanager
def _servers(folder: Path) -> Iterator[Opened]:
    port = free_port()
    (folder / "server").mkdir()
    with postgres_server() as postgres, ExitStack() as stack:
        servers = [stack.enter_context(mlflow_process(folder / "server", port))]

        def disturb(what: str, seconds: float) -> None:
            if what == "mlflow is frozen":
                os.killpg(servers[0].pid, signal.SIGSTOP)
                time.sleep(seconds)
                os.killpg(servers[0].pid, signal.SIGCONT)
            elif what == "mlflow is killed":
                stack.close()
                time.sleep(seconds)
                servers[0] = stack.enter_context(mlflow_process(folder / "server", port))
            else:
                _disturb_postgres(postgres, what, seconds)

        yield Sweep(folder, PLAN, postgres.url, f"http://127.0.0.1:{port}"), disturb


def _disturb_postgres(postgres: PostgresServer, what: str, seconds: float) -> None:
    first = psutil.Process(postgres.pid)
    processes = [first, *first.children(recursive=True)]
    if what == "postgres is frozen":
        for process in processes:
            process.suspend()
        time.sleep(seconds)
        for process in processes:
            process.resume()
        return
    if what == "postgres is killed":
        for process in processes:
            process.kill()
        psutil.wait_procs(processes, timeout=10)
    else:
        postgres.stop()
    time.sleep(seconds)
    postgres.start()


@fault()
def servers_are_stopped_and_started_again(folder: Path) -> Came:
    if not PostgresServer.is_installed():
        raise Skipped("no PostgreSQL server on this machine")
    moments = [
        ("mlflow is frozen", 2.0), ("mlflow is frozen", 12.0), ("mlflow is killed", 1.0),
        ("mlflow is killed", 5.0),
        ("postgres is frozen", 2.0), ("postgres is frozen", 12.0), ("postgres is killed", 0.0),
        ("postgres is killed", 5.0), ("postgres is shut down", 0.0), ("postgres is shut down", 12.0),
    ]  # fmt: skip
    return _at_random_moments(folder, _servers, moments)
