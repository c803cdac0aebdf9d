"""Measures one study under many workers: a real PostgreSQL, and simulated trials, which sleep.

    python benchmarks/bench_scale.py [--workers 8 30 60 200] [--trials-s 15] [--seconds 30] [--pool N]

A worker is a process, forked from this one after all imports; its trials go through the real `TrialQueue` and
`RunningTrial`: they are recovered and taken, note folder, overrides and run, beat every two seconds, report
evaluations, and are signed off and told. What is left out is the training: a trial sleeps for half to one and
a half times `--trials-s`, so an idle share of nought would be a study that costs nothing. The server syncs
its disk, has PostgreSQL's 100 connections, and shares this machine with all workers. CPU times are of the
workers' processes and of the server's alone, so they say the same on a machine that has other work.
"""

import argparse
import gc
import json
import logging
import multiprocessing
import random
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import psycopg
from bench_study import SPACE, finished

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests" / "support"))
from pooling import bouncer
from serving import PostgresServer, mlflow_server, postgres_server

from finesweep import tracking
from finesweep.config.run import Direction, TrackingConfig
from finesweep.config.study import StudyConfig
from finesweep.hooks import RunState
from finesweep.study import studies
from finesweep.study.queue import TrialQueue
from finesweep.study.records import Outcome, StudyRecord
from finesweep.study.recovering import GONE, end_lost_trials
from finesweep.worker.retention import drop_losers
from finesweep.worker.trial import RunningTrial

SETTINGS = "-c fsync=on -c shared_preload_libraries=pg_stat_statements"
EVALUATIONS = 3
SAMPLE_S = 0.02
STARTING_S = 10.0
ADVISORY = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
CLIENTS = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
STATEMENTS = (
    "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements "
    "WHERE query NOT LIKE '%pg\\_stat%' AND query NOT LIKE '%pg\\_locks%'"
)


@dataclass(frozen=True)
class Trial:
    """The times of one trial, by the machine's monotonic clock."""

    asked: float
    taken: float
    ended: float
    slept: float  # seconds of it
    cpu: float  # seconds of its worker, from one end to the next


def work(config: StudyConfig, runs: TrackingConfig, seconds: float, index: int, results: Path) -> None:
    """Is one worker; it is killed in the end."""
    rng = random.Random(index)
    logging.lastResort = None
    queue = TrialQueue(config, SPACE)
    share = rng.random()  # the workers' first trials end one after the other
    cpu = time.process_time()
    with (results / f"{index}.jsonl").open("w") as lines:
        while True:
            asked = time.monotonic()
            queue.patience.call(end_lost_trials, queue, GONE, partial(close, runs, queue.name))
            trial = queue.patience.call(queue.next_trial)
            assert trial is not None
            taken, slept = time.monotonic(), seconds * rng.uniform(0.5, 1.5) * share
            share = 1.0
            run(queue, trial, runs, slept, rng)
            before, cpu = cpu, time.process_time()
            lines.write(json.dumps([asked, taken, time.monotonic(), slept, cpu - before]) + "\n")
            lines.flush()


def close(runs: TrackingConfig, study: str, number: int, state: RunState) -> None:
    if runs.uri:
        tracking.close_trial_runs(runs, study, number, state)


def run(queue: TrialQueue, trial: Any, runs: TrackingConfig, seconds: float, rng: random.Random) -> None:
    with RunningTrial(queue, trial, {}, lambda: None) as running:
        running.record.write_all(folder=f"outputs/{trial.number}", overrides=["trainer.num_train_epochs=3"])
        tracked = None
        if runs.uri:
            tracked = tracking.record_run(runs, "bench", running.run_name, running.tags)
        running.started(tracked.run_id if tracked else f"{trial.number:032x}")
        for evaluation in range(1, EVALUATIONS + 1):
            time.sleep(seconds / EVALUATIONS)
            running.progress(step=evaluation, max_steps=EVALUATIONS, trained_steps=evaluation)
            running.evaluated(value := rng.random(), evaluation / EVALUATIONS)
            if tracked:
                tracked.log_metrics({"eval_accuracy": value}, step=evaluation)
        running.sign_off(Outcome(RunState.COMPLETE, [value]))
        if tracked:
            tracked.end_signed_off(RunState.COMPLETE)
        queue.tell(trial.number)
    drop_losers(queue, 3)


def study(storage: str, name: str, history: int) -> StudyConfig:
    """Makes a study of so many finished trials."""
    config = StudyConfig(name=name, storage=storage, n_trials=1_000_000, sampler="tpe")
    attrs = StudyRecord.attributes(n_trials=config.n_trials, metric="m", objectives={"m": "maximize"})
    made = studies.create(config, {"m": Direction.maximize}, [], attrs)
    rng = random.Random(0)
    made.add_trials([finished(index, rng) for index in range(history)])
    return config


@contextmanager
def at_work(count: int, worker: Any, results: Path) -> Iterator[list[Any]]:
    fork = multiprocessing.get_context("fork")
    gc.freeze()  # as the workers' server does: what was imported is no garbage
    workers = [fork.Process(target=worker, args=(index, results)) for index in range(count)]
    for process in workers:
        process.start()
    try:
        yield workers
    finally:
        for process in workers:
            process.kill()
            process.join()


@dataclass
class Watched:
    lock_share: float
    connections: int
    statements: int
    cpu: float  # seconds of all processes of the server


def watch(server: PostgresServer, connection: psycopg.Connection[Any], seconds: float) -> Watched:
    """Samples the server for so long."""

    def ask(query: str) -> int:
        row = connection.execute(query).fetchone()  # type: ignore[call-overload]
        return int(row[0])

    connection.execute("SELECT pg_stat_statements_reset()")
    cpu, until = server_cpu(server), time.monotonic() + seconds
    locked, clients = [], []
    while time.monotonic() < until:
        locked.append(ask(ADVISORY) > 0)
        if len(locked) % 10 == 0:
            clients.append(ask(CLIENTS) - 1)
        time.sleep(SAMPLE_S)
    cpu = server_cpu(server) - cpu
    return Watched(sum(locked) / len(locked), max(clients), ask(STATEMENTS), cpu)


def server_cpu(server: PostgresServer) -> float:
    """Returns the seconds that the server's processes have worked, those included that have ended."""
    parent = psutil.Process(server.pid)
    ended, running = parent.cpu_times(), [child.cpu_times() for child in parent.children()]
    return ended.children_user + ended.children_system + sum(own.user + own.system for own in running)


def measure(
    given: argparse.Namespace,
    server: PostgresServer,
    connection: psycopg.Connection[Any],
    storage: str,
    uri: str,
    workers: int,
) -> str:
    config = study(server.url, f"w{workers}", given.history)
    if given.pool:
        config = replace(config, storage=storage)
    runs = TrackingConfig(uri=uri)
    with TemporaryDirectory() as folder:
        worker = partial(work, config, runs, given.trials_s)
        with at_work(workers, worker, Path(folder)) as processes:
            time.sleep(STARTING_S + given.trials_s)
            begin = time.monotonic()
            watched = watch(server, connection, given.seconds)
            end = time.monotonic()
            alive = sum(process.is_alive() for process in processes)
        every = [Trial(*json.loads(line)) for path in Path(folder).iterdir() for line in path.open()]
    trials = [one for one in every if begin <= one.ended <= end]
    return row(workers, workers - alive, trials, watched, given.seconds)


def row(workers: int, died: int, trials: Sequence[Trial], watched: Watched, seconds: float) -> str:
    if len(trials) < 2:
        return f"{workers:>7}{died:>6}   no trials"
    waits = quantiles([one.taken - one.asked for one in trials], n=20)
    worked = sum(one.ended - one.asked for one in trials)
    idle = 1 - sum(one.slept for one in trials) / worked
    count = len(trials)
    return (
        f"{workers:>7}{died:>6}{count / seconds:>10.1f}{waits[9]:>10.2f}{waits[18]:>9.2f}{idle:>8.1%}"
        f"{watched.lock_share:>7.0%}{watched.connections:>13}{watched.statements / count:>12.0f}"
        f"{sum(one.cpu for one in trials) / count * 1000:>10.0f}"
        f"{watched.cpu / count * 1000:>10.0f}"
    )


HEADER = (
    f"{'workers':>7}{'died':>6}{'trials/s':>10}{'wait s':>10}{'95%':>9}{'idle':>8}{'lock':>7}"
    f"{'connections':>13}{'statements':>12}{'CPU ms':>10}{'server':>10}"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[8, 30, 60, 200])
    parser.add_argument("--trials-s", type=float, default=15.0, help="mean length of a trial")
    parser.add_argument("--seconds", type=float, default=30.0, help="for which each number is measured")
    parser.add_argument("--history", type=int, default=300, help="finished trials that the study begins with")
    parser.add_argument("--pool", type=int, help="server connections of a PgBouncer in between")
    parser.add_argument("--mlflow", action="store_true", help="runs on a real MLflow server, too")
    parser.add_argument("--profile", action="store_true", help="print the dearest statements")
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        server = stack.enter_context(postgres_server(SETTINGS))
        storage = stack.enter_context(bouncer(server, given.pool)) if given.pool else server.url
        uri = f"http://{stack.enter_context(mlflow_server(folder / 'mlflow'))}" if given.mlflow else ""
        connection = stack.enter_context(psycopg.connect(server.url, autocommit=True))
        connection.execute("CREATE EXTENSION pg_stat_statements")
        print(f"statements and CPU times are of a trial, heartbeats included\n{HEADER}", flush=True)
        for workers in given.workers:
            print(measure(given, server, connection, storage, uri, workers), flush=True)
            if given.profile:
                print(dearest(server), flush=True)


def dearest(server: PostgresServer) -> str:
    query = (
        "SELECT calls, total_exec_time, left(regexp_replace(query, '\\s+', ' ', 'g'), 110) "
        "FROM pg_stat_statements ORDER BY total_exec_time DESC LIMIT 25"
    )
    with psycopg.connect(server.url) as connection:
        return "\n".join(f"{calls:>9}{ms:>10.0f} ms  {text}" for calls, ms, text in connection.execute(query))


if __name__ == "__main__":
    main()
