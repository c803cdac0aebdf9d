"""hydra/launcher=ray on a cluster of three nodes: nodes and drivers die, and every trial is trained once."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from gates import GATED, let_through, shut
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from processes import SMALL, Process, start
from ray_nodes import RayNodes, ray_nodes
from serving import PostgresServer, RestartingMlflow, postgres_server
from sweeping import STORAGE, runs

from finesweep.errors import StudyError
from finesweep.machine.process import ProcessIdentity
from finesweep.study import clock, studies
from finesweep.study.records import StudyRecord, TrialRecord

# One process makes the cluster. Each worker imports everything anew, which takes long on busy cores.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

TRIALS = 4
SWEEP = (
    "-m", "hydra/launcher=ray", "hydra.sweeper.workers=2", *SMALL, "predict=false",
    f"hydra.sweeper.study.n_trials={TRIALS}", *GATED,
)  # fmt: skip
DEADLINE_S = 200


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayNodes]:
    if not RayNodes.is_installed():
        pytest.skip("the extra [ray] is not installed")
    with ray_nodes(nodes=3, cpus=1) as running:
        yield running


def started(cluster: RayNodes, folder: Path, *words: str) -> Process:
    shut(folder)
    return start(*SWEEP, *words, cwd=folder, environ=cluster.environ)


def trials() -> list[FrozenTrial]:
    with suppress(StudyError):
        return studies.load("quickstart", STORAGE).get_trials(deepcopy=False)
    return []


def await_running(
    sweep: Process, since: float = 0.0, trials: Callable[[], list[FrozenTrial]] = trials
) -> TrialRecord:
    """Waits until a trial is at the gate, and has given a heartbeat since then."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline and sweep.poll() is None:
        for trial in trials():
            record = TrialRecord(trial)
            if trial.state is TrialState.RUNNING and record.progress and (record.heartbeat or 0) > since:
                return record
        time.sleep(0.1)
    raise AssertionError(f"no trial was trained: {sweep.communicate(timeout=DEADLINE_S)}")


def kill_its_node(cluster: RayNodes, record: TrialRecord) -> None:
    pid = int(ProcessIdentity.parse(str(record.owner)).pid)
    (node,) = [n for n in cluster.raylets if pid in {process.pid for process in cluster.processes(n)}]
    cluster.kill_node(node)


ACTORS = """
import ray, time
from ray.util import list_named_actors
ray.init(log_to_driver=False)
end = time.monotonic() + {seconds}
while list_named_actors(all_namespaces=True) and time.monotonic() < end:
    time.sleep(0.5)
while ray.available_resources().get("CPU") != {cpus} and time.monotonic() < end:
    time.sleep(0.5)
print()
print(len(list_named_actors(all_namespaces=True)), ray.available_resources().get("CPU"))
"""


def await_free(cluster: RayNodes) -> None:
    """Waits until the actors have removed themselves, and all CPUs are free."""
    code = ACTORS.format(seconds=DEADLINE_S, cpus=len(cluster.raylets))
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | cluster.environ, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1:] == [f"0 {len(cluster.raylets)}.0"], done.stdout + done.stderr


def check_each_trial_once() -> None:
    """Each planned trial is COMPLETE once, at most one death was counted, and all runs are closed.

    A worker that was told to stop, because its actor died, before it was killed costs no retry.
    """
    known = trials()
    complete = [trial for trial in known if trial.state is TrialState.COMPLETE]
    assert sorted(TrialRecord(trial).ordinal or 0 for trial in complete) == list(range(TRIALS))
    assert {trial.state for trial in known} <= {TrialState.COMPLETE, TrialState.FAIL}
    assert any(TrialRecord(trial).retry_of is not None for trial in complete)
    assert max(TrialRecord(trial).worker_deaths or 0 for trial in known) <= 1
    made = runs()
    assert made.pop("quickstart").info.status == "FINISHED"
    assert {made[f"trial-{trial.number:04d}"].info.status for trial in complete} == {"FINISHED"}
    assert len(made) <= len(known)
    assert "RUNNING" not in {run.info.status for run in made.values()}
    assert StudyRecord(studies.load("quickstart", STORAGE)).conclusion is not None


def test_ctrl_c_hands_trials_back_and_the_same_command_goes_on_though_a_node_dies(
    cluster: RayNodes, tmp_path: Path
) -> None:
    sweep = started(cluster, tmp_path)
    await_running(sweep)
    os.kill(sweep.pid, signal.SIGINT)
    study = studies.load("quickstart", STORAGE)
    while not StudyRecord(study).stopped_commands:
        time.sleep(0.1)
    await_running(sweep, since=clock.now(study))  # it has read the stop with this heartbeat
    let_through(tmp_path)
    _, stderr = sweep.communicate(timeout=DEADLINE_S)
    assert sweep.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert {TrialState.FAIL, TrialState.WAITING} <= {trial.state for trial in trials()}
    assert TrialState.RUNNING not in {trial.state for trial in trials()}
    await_free(cluster)
    sweep = started(cluster, tmp_path)
    kill_its_node(cluster, await_running(sweep))
    let_through(tmp_path)
    stdout, stderr = sweep.communicate(timeout=DEADLINE_S)
    assert sweep.returncode == 0, stderr
    assert f"{TRIALS} of {TRIALS} trials finished" in stdout
    check_each_trial_once()
    await_free(cluster)


def test_a_driver_and_a_node_that_are_killed_leave_a_sweep_that_finishes_itself(
    cluster: RayNodes, tmp_path: Path
) -> None:
    sweep = started(cluster, tmp_path)
    record = await_running(sweep)
    os.kill(sweep.pid, signal.SIGKILL)
    kill_its_node(cluster, record)
    let_through(tmp_path)
    sweep.communicate(timeout=DEADLINE_S)
    await_free(cluster)
    check_each_trial_once()
    again = started(cluster, tmp_path)
    _, stderr = again.communicate(timeout=DEADLINE_S)
    assert again.returncode == 0, stderr
    assert "nothing to do" in stderr


def await_study(storage: str) -> Study:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        with suppress(StudyError):
            return studies.load("quickstart", storage)
        time.sleep(0.5)
    raise AssertionError("no study was made")


def test_the_servers_of_both_stores_restart_and_no_trial_notices(cluster: RayNodes, tmp_path: Path) -> None:
    if not PostgresServer.is_installed():
        pytest.skip("no PostgreSQL server on this machine")
    with postgres_server() as postgres, RestartingMlflow(tmp_path / "mlflow") as mlflow:
        stores = (f"hydra.sweeper.study.storage={postgres.url}", f"tracking.uri={mlflow.url}")
        sweep = started(cluster, tmp_path, *stores)
        study = await_study(postgres.url)
        await_running(sweep, trials=study.get_trials)
        mlflow.stop()
        postgres.stop()
        let_through(tmp_path)  # the trials end while nobody can be told
        time.sleep(5)
        postgres.start()
        mlflow.start()
        stdout, stderr = sweep.communicate(timeout=DEADLINE_S)
        assert sweep.returncode == 0, stderr
        assert (
            f"{TRIALS} of {TRIALS} trials finished (COMPLETE {TRIALS}" in stdout and "Traceback" not in stderr
        )
        known = [TrialRecord(trial) for trial in study.get_trials() if trial.state is TrialState.COMPLETE]
        assert sorted(record.ordinal or 0 for record in known) == list(range(TRIALS))
        assert sum(record.worker_deaths or 0 for record in known) == 0
    await_free(cluster)
