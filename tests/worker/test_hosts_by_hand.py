"""The same sweep on two hosts, by hand: a command on the first, `finesweep worker` on the second.

The hosts are namespaces of this machine: each has its own network and its own name, sees no process of the
other as its own, and reaches a PostgreSQL server.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from processes import ROOT
from serving import PostgresServer

INSIDE = ("unshare", "--net", "--uts")


def missing() -> str | None:
    """Says what this machine lacks for hosts of its own."""
    for program in ("unshare", "nsenter", "ip"):
        if shutil.which(program) is None:
            return f"no program {program}"
    if subprocess.run([*INSIDE, "true"], capture_output=True).returncode:
        return "namespaces are not permitted"
    return None if PostgresServer.is_installed() else "no PostgreSQL server on this machine"


def work(project: Path, *options: str) -> dict[str, Any]:
    """What two hosts did on one study, until Ctrl-C. Both must have handed back what they had."""
    if lacks := missing():
        pytest.skip(lacks)
    script = str(ROOT / "tests/support/two_hosts.py")
    done = subprocess.run(
        [*INSIDE, sys.executable, script, str(project), *options],
        env=os.environ | {"PYTHONPATH": str(ROOT / "tests/support")},
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    assert seen["codes"] == [130, 130], seen["errors"]
    assert "Traceback" not in "".join(seen["errors"])
    assert seen["at work"] == "2 on 2 hosts: node-1 1, node-2 1"
    assert set(seen["states"]) <= {"COMPLETE", "FAIL", "WAITING"}  # those that were handed back wait
    ordinals = [ordinal for ordinal, _ in seen["complete"]]
    assert len(ordinals) == len(set(ordinals)), "a trial was done twice"
    assert {host for _, host in seen["complete"]} == {"node-1", "node-2"}
    return seen


@pytest.mark.cluster
def test_two_hosts_share_a_study_and_both_hand_back_at_ctrl_c(tmp_path: Path) -> None:
    assert work(tmp_path)["handed on"] == []


@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_a_host_that_is_cut_off_for_longer_than_its_lease_loses_its_trial_and_works_on_when_it_is_back(
    tmp_path: Path,
) -> None:
    assert len(work(tmp_path, "--cut")["handed on"]) == 1
