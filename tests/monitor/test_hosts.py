"""Workers on several hosts, as `finesweep status` shows them, and work that nobody goes on with."""

import json
import os
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.study import Study
from processes import finesweep
from test_progress import DEAD, LIVE, add, drawn, study

from finesweep.machine.process import this_process
from finesweep.monitor import hosts
from finesweep.monitor.report import describe
from finesweep.monitor.summary import print_summary
from finesweep.study import clock
from finesweep.study.liveness import GRACE_S, SILENT_S

OTHER = str(replace(this_process(), host="node-b", boot="of node-b", pid="4711"))
SOON = -100.0  # seconds since a heartbeat that is ahead of this test, however slow it is


def elsewhere(known: Study, unheard: float, owner: str = OTHER) -> int:
    return add(known, "RUNNING", live=LIVE, owner=owner, beat=clock.now(known) - unheard)


def known_workers(known: Study) -> list[hosts.Worker]:
    return hosts.workers(known.get_trials(deepcopy=False), clock.now(known))


def test_status_counts_the_workers_of_each_host_and_says_who_does_what(tmp_path: Path) -> None:
    known = study(tmp_path)
    add(known, "RUNNING", live=LIVE)
    for number in range(2):
        elsewhere(known, SOON, owner=OTHER.replace("4711", f"471{number}"))
    arguments = ["status", "s", "--storage", f"sqlite:///{tmp_path}/optuna.db"]
    shown = finesweep(*arguments, cwd=tmp_path).stdout
    here = socket.gethostname()
    assert f"3 on 2 hosts: {', '.join(sorted([f'{here} 1', 'node-b 2']))}\n" in shown
    assert "stranded" not in shown
    assert [row.split()[:2] for row in shown.splitlines()[-3:]] == [
        [str(os.getpid()), "0"], ["node-b:4710", "1"], ["node-b:4711", "2"],
    ]  # fmt: skip
    plain = json.loads(finesweep(*arguments, "--json", cwd=tmp_path).stdout)
    assert [worker["host"] for worker in plain["workers"]] == [here, "node-b", "node-b"]
    assert plain["stranded"] == []


@pytest.mark.usefixtures("still")
@pytest.mark.parametrize(
    ("owner", "unheard", "state", "said"),
    [
        (OTHER, SILENT_S + 2, hosts.SILENT, "was last heard of 12 s ago; unless it is heard of again"),
        (OTHER, GRACE_S + 60, hosts.GONE, "is gone; a worker that starts now takes it up"),
        (DEAD, 1.0, hosts.GONE, "is gone; a worker that starts now takes it up"),
    ],
    ids=["silent", "gone", "dead here"],
)
def test_status_says_that_work_is_stranded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], owner: str, unheard: float, state: str, said: str
) -> None:
    known = study(tmp_path)
    number = elsewhere(known, unheard, owner)
    assert [worker.state for worker in known_workers(known)] == [state]
    status = describe(known)
    assert status.stranded == [number]
    print_summary(status)
    shown = capsys.readouterr().out
    host, pid = hosts.workers(known.get_trials(), time.time())[0].host, owner.split("|")[-2]
    assert f"stranded:     trial {number}: its worker {host}:{pid} {said}" in shown
    assert "workers:" not in shown


@pytest.mark.usefixtures("still")
def test_the_table_says_who_is_silent(tmp_path: Path) -> None:
    known = study(tmp_path)
    elsewhere(known, SILENT_S + 2)
    (row,) = [line for line in drawn(known, 160) if "node-b" in line]
    assert row.split()[:2] == ["node-b:4711", "0"] and row.endswith("  -  its worker is silent for 0:12")


def test_work_is_not_stranded_while_somebody_is_there_to_take_it_up(tmp_path: Path) -> None:
    known = study(tmp_path)
    elsewhere(known, GRACE_S + 1)
    elsewhere(known, SOON)
    assert describe(known).stranded == []
