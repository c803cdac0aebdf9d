"""Two hosts on one machine, each with a network and a name of its own, and a database that both reach.

unshare --net python tests/support/two_hosts.py PROJECT [--cut]    one sweep on both; prints what was seen

--cut: the second host's cable is out for longer than a lease, and in again.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy
from optuna.trial import FrozenTrial, TrialState
from processes import FINESWEEP, SMALL, TRAIN
from serving import postgres_server

from finesweep.errors import StudyError
from finesweep.machine.process import ProcessIdentity
from finesweep.monitor import hosts
from finesweep.study import clock, studies
from finesweep.study.records import TrialRecord

NETWORK, HUB = "10.77.0", "10.77.0.1"  # in namespaces: nothing of it is seen outside
DEADLINE_S = 200


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@dataclass
class Host:
    """A UTS and a network namespace, which live as long as a process in them."""

    name: str
    process: "subprocess.Popen[str]"

    def start(self, *command: str, cwd: Path) -> "subprocess.Popen[str]":
        enter = ["nsenter", f"--target={self.process.pid}", "--net", "--uts", f"--wd={cwd}"]
        return subprocess.Popen(
            [*enter, sys.executable, *command],
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def start_host(stack: ExitStack, number: int) -> Host:
    """Starts a host that is wired to this namespace's bridge."""
    name = f"node-{number}"
    ready = f"hostname {name} && ip link set lo up && echo ready && exec sleep 900"
    process = stack.enter_context(
        subprocess.Popen(["unshare", "--net", "--uts", "sh", "-c", ready], stdout=subprocess.PIPE, text=True)
    )
    stack.callback(process.kill)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    ip("link", "add", f"to{number}", "type", "veth", "peer", "name", "eth0", "netns", str(process.pid))
    ip("link", "set", f"to{number}", "master", "hub", "up")
    inside = ["nsenter", f"--target={process.pid}", "--net", "ip"]
    subprocess.run([*inside, "addr", "add", f"{NETWORK}.{10 + number}/24", "dev", "eth0"], check=True)
    subprocess.run([*inside, "link", "set", "eth0", "up"], check=True)
    return Host(name, process)


def make_hub() -> None:
    ip("link", "set", "lo", "up")
    ip("link", "add", "hub", "type", "bridge")
    ip("addr", "add", f"{HUB}/24", "dev", "hub")
    ip("link", "set", "hub", "up")


def work(project: Path, cut: bool) -> dict[str, object]:
    """Has two hosts work on one study until both have ended a trial, and stops them by Ctrl-C.

    cut: whether the second one is cut off in between.
    """
    make_hub()
    with ExitStack() as stack:
        server = stack.enter_context(postgres_server(host=HUB))
        with sqlalchemy.create_engine(server.url, isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(sqlalchemy.text("CREATE DATABASE runs"))
        first, second = start_host(stack, 1), start_host(stack, 2)
        stores = [f"hydra.sweeper.study.storage={server.url}", f"tracking.uri={server.url[:-8]}runs"]
        words = ["-m", "cluster=postgres", *stores, *SMALL, "hydra.sweeper.study.n_trials=500"]
        commands = [first.start(*TRAIN, *words, "hydra.sweeper.workers=1", cwd=project)]
        await_hosts(server.url, commands, 1)
        worker = ["worker", "quickstart", "--storage", server.url, "--project", str(project)]
        commands.append(second.start(*FINESWEEP, *worker, cwd=Path("/")))
        at_work = await_hosts(server.url, commands, 2)
        if cut:
            cut_off(server.url, second.name)
        for command in commands:
            command.send_signal(signal.SIGINT)
        ended = [command.communicate(timeout=DEADLINE_S) for command in commands]
        trials = studies.load("quickstart", server.url).get_trials(deepcopy=False)
        return {
            "codes": [command.returncode for command in commands],
            "errors": [stderr for _, stderr in ended],
            "at work": at_work,
            "handed on": handed_on(trials, second.name),
            "states": sorted({trial.state.name for trial in trials}),
            "complete": sorted(
                (TrialRecord(trial).ordinal, host_of(TrialRecord(trial)))
                for trial in trials
                if trial.state is TrialState.COMPLETE
            ),
        }


def host_of(record: TrialRecord) -> str:
    return ProcessIdentity.parse(str(record.owner)).host


def await_hosts(url: str, commands: "list[subprocess.Popen[str]]", count: int) -> str:
    """Waits until so many hosts have completed a trial, and all are at work. Returns what status says."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline and not any(command.poll() for command in commands):
        time.sleep(0.2)
        try:
            study = studies.load("quickstart", url)
        except StudyError:
            continue
        trials = study.get_trials(deepcopy=False)
        records = [TrialRecord(trial) for trial in trials if trial.state is TrialState.COMPLETE]
        seen = hosts.at_work(hosts.workers(trials, clock.now(study)))
        if len({host_of(record) for record in records}) == count and f"on {count} host" in seen:
            return seen
    raise AssertionError([command.communicate() for command in commands if command.poll() is not None])


def cut_off(url: str, host: str) -> None:
    """Takes the second host's cable out until a trial of it is handed on, and waits until it ends another."""
    ip("link", "set", "to2", "down")
    time.sleep(1)  # what has reached the server is done
    while not _trains(host, studies.load("quickstart", url).get_trials(deepcopy=False)):
        ip("link", "set", "to2", "up")  # it was between two trials: none would be handed on
        _await(url, lambda trials: _trains(host, trials))
        ip("link", "set", "to2", "down")
        time.sleep(1)
    _await(url, lambda trials: bool(handed_on(trials, host)))
    ip("link", "set", "to2", "up")
    before = len(_completed_by(host, studies.load("quickstart", url).trials))
    _await(url, lambda trials: len(_completed_by(host, trials)) > before)


def _await(url: str, happened: Callable[[list[FrozenTrial]], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not happened(studies.load("quickstart", url).get_trials(deepcopy=False)):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.5)


def handed_on(trials: list[FrozenTrial], host: str) -> list[int]:
    """Lists the numbers of a host's trials that were ended in its place and tried again by another host."""
    retried = {TrialRecord(trial).retry_of for trial in trials if trial.state is TrialState.COMPLETE}
    return [
        trial.number for trial in trials if trial.number in retried and host_of(TrialRecord(trial)) == host
    ]


def _trains(host: str, trials: list[FrozenTrial]) -> bool:
    """Tells whether a host has a trial that is not signed off."""
    records = [TrialRecord(trial) for trial in trials if trial.state is TrialState.RUNNING]
    return any(record.owner and record.outcome is None and host_of(record) == host for record in records)


def _completed_by(host: str, trials: list[FrozenTrial]) -> list[FrozenTrial]:
    complete = (trial for trial in trials if trial.state is TrialState.COMPLETE)
    return [trial for trial in complete if host_of(TrialRecord(trial)) == host]


if __name__ == "__main__":
    print(json.dumps(work(Path(sys.argv[1]), "--cut" in sys.argv)))
