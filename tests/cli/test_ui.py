"""What a person sees in MLflow's UI, through a real browser."""

import json
import os
import shutil
import signal
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import FINESWEEP, SMALL, finesweep, start, train
from serving import await_health, free_port

from finesweep.config.run import TrackingConfig
from finesweep.tracking import SIDE, open_store

CHROMIUM = shutil.which("chromium")
# No word to anybody: without these flags the browser itself calls out.
QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync")  # fmt: skip


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """`finesweep ui` on the store of a small sweep."""
    done = train("-m", *SMALL[:1], *SMALL[3:], "hydra.sweeper.study.n_trials=2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    port = free_port()
    server = start("ui", "quickstart", "--port", str(port), cwd=tmp_path, program=FINESWEEP)
    url = f"http://127.0.0.1:{port}"
    try:
        await_health(url, server)
        yield url
    finally:
        os.killpg(server.pid, signal.SIGINT)  # Ctrl-C in a terminal reaches the whole group
        _, stderr = server.communicate(timeout=30)
    assert server.returncode == 0
    assert f"{url}/#/experiments/1/runs/" in stderr and "Traceback" not in stderr


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_the_study_is_listed_and_its_trials_compare_in_parallel_coordinates(
    address: str, tmp_path: Path
) -> None:
    client = open_store(TrackingConfig())
    experiment = client.get_experiment_by_name("demo").experiment_id
    children = client.search_runs([experiment], "tags.`finesweep.kind` = 'trial'")
    (study,) = client.search_runs([experiment], "tags.`finesweep.kind` = 'study'")
    url = f"{address}/#/experiments/{experiment}/runs/{study.info.run_id}?{SIDE}"
    given = ("--tracking-uri", address, "--no-browser")  # the page is on that server, and none is started
    named = finesweep("ui", "quickstart", *given, cwd=tmp_path)
    assert (named.returncode, named.stderr) == (0, f"{url}\n")
    unknown = finesweep("ui", "quikstart", *given, cwd=tmp_path)
    assert unknown.returncode == 2 and "did you mean quickstart? there: quickstart" in unknown.stderr
    page = seen(url, tmp_path)
    best = study.data.tags["finesweep.best_trial"]
    for text in ("quickstart", f"(trial {best})", "Leaderboard", "finesweep reproduce"):
        assert text in page
    query = {
        "runs": json.dumps([run.info.run_id for run in children]),
        "experiments": json.dumps([experiment]),
        "numRuns": str(len(children)),
    }
    page = seen(f"{address}/#/compare-runs?{urllib.parse.urlencode(query)}", tmp_path)
    for text in ("Parallel Coordinates Plot", "trial-0000", "trial-0001", "optimizer.learning_rate"):
        assert text in page


def seen(url: str, tmp_path: Path) -> str:
    """The page as the browser has built it."""
    profile = f"--user-data-dir={tmp_path}/browser"
    command = [str(CHROMIUM), *QUIET, profile, "--virtual-time-budget=30000", "--dump-dom", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
