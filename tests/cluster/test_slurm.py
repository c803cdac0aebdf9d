"""Sweeps whose workers are jobs of a real SLURM: its daemons, on loopback."""

import os
import shutil
import signal
import socket
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from optuna.study import Study
from processes import SMALL, Process, start, train
from serving import PostgresServer, RestartingMlflow, postgres_server
from slurm_cluster import SlurmCluster, missing, slurm_cluster
from sweeping import STORAGE, runs

from finesweep.cluster.reach import is_local
from finesweep.errors import StudyError
from finesweep.io import checkpoint
from finesweep.study import studies
from finesweep.study.places import places_of
from finesweep.study.records import Progress, StudyRecord, TrialRecord

# Each test starts several programs anew, which takes minutes on a machine that is busy.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

HERE = socket.gethostname()
# Two trials of some seconds; the grid begins with the longer one.
TRIALS = ("-m", *SMALL[2:], "data.demo_rows=2000", "trainer.num_train_epochs=4,8", "predict=false",
          "optimizer.learning_rate=1e-3", "trainer.per_device_train_batch_size=8",
          "hydra.sweeper.study.sampler=grid")  # fmt: skip
SLURM = ("hydra/launcher=slurm", "hydra.launcher.signal_lead_s=5")


@pytest.fixture(scope="module")
def cluster() -> Iterator[SlurmCluster]:
    """This host, with room for two workers, and two nodes that are other hosts; `urgent` jobs preempt."""
    if why := missing():
        pytest.skip(why)
    partitions = [
        f"here Nodes={HERE} Default=YES PriorityTier=1",
        "apart Nodes=n1,n2 PriorityTier=1",
        "urgent Nodes=ALL PriorityTier=9",
    ]
    with slurm_cluster([HERE, "n1", "n2"], partitions, cpus=2) as running:
        yield running


@pytest.fixture
def launch(cluster: SlurmCluster) -> Iterator[Callable[..., Process]]:
    """Starts a sweep on the cluster; its jobs are cancelled after the test."""

    def started(*arguments: str, cwd: Path) -> Process:
        return start(*TRIALS, *SLURM, *arguments, cwd=cwd, environ=cluster.environ)

    yield started
    cluster.cancel_all()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """The weights of the same trials under the usual launcher."""
    folder = tmp_path_factory.mktemp("undisturbed")
    done = train(*TRIALS, "hydra.sweeper.workers=1", cwd=folder)
    assert done.returncode == 0, done.stderr
    return weights(studies.load("quickstart", f"sqlite:///{folder}/mlruns/optuna.db"))


def await_(happened: Callable[[], object], what: str, seconds: float = 400, every: float = 0.2) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(every)


def trains(storage: str = STORAGE) -> bool:
    """Tells whether a trial has trained some steps, and is at it."""
    try:
        trials = studies.load("quickstart", storage).get_trials(deepcopy=False)
    except StudyError:
        return False
    running = [TrialRecord(trial).progress for trial in trials if trial.state.name == "RUNNING"]
    return any(progress is not None and progress.trained_steps > 20 for progress in running)


def study() -> Study:
    return studies.load("quickstart", STORAGE)


def is_concluded() -> bool:
    return StudyRecord(study()).conclusion is not None


def weights(study: Study) -> dict[int, str]:
    """The hash of each finished trial's weights, by its epochs."""
    return {
        int(trial.params["trainer.num_train_epochs"]): checkpoint.sha256(
            places_of(study).find(str(TrialRecord(trial).checkpoint)) / "model.safetensors"
        )
        for trial in study.trials
        if trial.state.name == "COMPLETE"
    }


def states(study: Study) -> list[str]:
    return [trial.state.name for trial in study.trials]


def deaths(study: Study) -> int:
    return sum(TrialRecord(trial).worker_deaths or 0 for trial in study.trials)


def job_of(cluster: SlurmCluster) -> str:
    """The id of the only job array that has not ended."""
    jobs = {task.partition("_")[0] for task in cluster.jobs()}
    assert len(jobs) == 1, jobs
    return jobs.pop()


def logs(folder: Path) -> str:
    return "".join(path.read_text() for path in folder.glob("outputs/**/slurm/*.log"))


def test_a_job_array_runs_each_trial_once(
    launch: Callable[..., Process], tmp_path: Path, undisturbed: dict[int, str]
) -> None:
    sweep = launch("hydra.sweeper.workers=2", cwd=tmp_path)
    stdout, stderr = sweep.communicate(timeout=400)
    assert sweep.returncode == 0, stderr + logs(tmp_path)
    assert "2 of 2 trials finished (COMPLETE 2" in stdout
    assert states(study()) == ["COMPLETE"] * 2 and is_concluded()
    assert weights(study()) == undisturbed
    folder = tmp_path / "outputs/studies/quickstart/slurm"
    job = next(line for line in stderr.splitlines() if line.startswith("SLURM job ")).split()[2].strip(":")
    assert f"logs in {folder}/{job}_*.log" in stderr and f"end: scancel {job}" in stderr
    assert "#SBATCH --job-name=quickstart" in next(folder.glob("workers-*.sh")).read_text()
    assert logs(tmp_path).count("trials ended here") == 2 and "Traceback" not in logs(tmp_path)


def test_a_worker_that_is_told_to_save_starts_again_though_the_launching_shell_is_gone(
    cluster: SlurmCluster, launch: Callable[..., Process], tmp_path: Path, undisturbed: dict[int, str]
) -> None:
    sweep = launch("hydra.sweeper.workers=1", cwd=tmp_path)
    await_(trains, "a trial that trains")
    os.killpg(sweep.pid, signal.SIGKILL)
    sweep.communicate(timeout=60)
    cluster.run("scancel", "--batch", "--signal=USR1", f"{job_of(cluster)}_0")
    await_(is_concluded, "the end of the study")
    assert states(study()) == ["FAIL", "COMPLETE", "COMPLETE"] and deaths(study()) == 0
    assert TrialRecord(study().trials[0]).outcome.state == "INTERRUPTED"
    assert weights(study()) == undisturbed
    assert logs(tmp_path).count("SLURM queues this worker again") == 1
    await_(lambda: not cluster.jobs(), "the end of the job")
    assert cluster.restarts() == 1


def test_a_preempted_worker_comes_back_and_slurm_asks_it_not_twice(
    cluster: SlurmCluster, launch: Callable[..., Process], tmp_path: Path, undisturbed: dict[int, str]
) -> None:
    sweep = launch("hydra.sweeper.workers=1", cwd=tmp_path)
    await_(trains, "a trial that trains")
    cluster.run("sbatch", "--partition=urgent", f"--nodelist={HERE}", "--exclusive", "--output=/dev/null",
                "--wrap=sleep 1")  # fmt: skip
    stdout, stderr = sweep.communicate(timeout=400)
    assert sweep.returncode == 0, stderr + logs(tmp_path)
    assert states(study()) == ["FAIL", "COMPLETE", "COMPLETE"] and deaths(study()) == 0
    assert weights(study()) == undisturbed
    assert "DUE TO PREEMPTION" in logs(tmp_path) and "is queued again already" in logs(tmp_path)
    assert cluster.restarts() == 1


def test_a_cancelled_sweep_and_one_that_was_stopped_go_on_with_the_same_command(
    cluster: SlurmCluster, launch: Callable[..., Process], tmp_path: Path, undisturbed: dict[int, str]
) -> None:
    sweep = launch("hydra.sweeper.workers=1", cwd=tmp_path)
    await_(trains, "a trial that trains")
    cluster.run("scancel", job_of(cluster))
    _, stderr = sweep.communicate(timeout=200)
    assert sweep.returncode == 1 and "ended before its budget" in stderr
    assert states(study()) == ["FAIL", "WAITING", "WAITING"] and cluster.jobs() == {}
    sweep = launch("hydra.sweeper.workers=2", "hydra.launcher.array_parallelism=1", cwd=tmp_path)
    await_(trains, "a trial that trains")
    assert "PENDING" in cluster.jobs().values()
    os.killpg(sweep.pid, signal.SIGINT)
    _, stderr = sweep.communicate(timeout=200)
    assert sweep.returncode == 130 and "Traceback" not in stderr, stderr
    assert states(study()) == ["FAIL", "WAITING", "FAIL", "WAITING"] and cluster.jobs() == {}
    sweep = launch("hydra.sweeper.workers=2", "hydra.launcher.array_parallelism=1", cwd=tmp_path)
    _, stderr = sweep.communicate(timeout=400)
    assert sweep.returncode == 0, stderr + logs(tmp_path)
    assert len(list(tmp_path.glob("outputs/**/slurm/*_1.log"))) == 0, "a worker began that had nothing to do"
    assert states(study()).count("COMPLETE") == 2 and deaths(study()) == 0
    assert weights(study()) == undisturbed
    assert {run.info.status for run in runs().values()} == {"FINISHED", "KILLED"}


SLOW = """
import time
from sklearn.metrics import accuracy_score

def accuracy(labels, predictions):
    time.sleep(1.5)
    return accuracy_score(labels, predictions)
"""


def test_a_time_limit_loses_nothing(
    cluster: SlurmCluster, launch: Callable[..., Process], tmp_path: Path
) -> None:
    """A trial that takes more than a minute, though it computes little, and half a minute that is left."""
    (tmp_path / "slow.py").write_text(SLOW)
    long = ("hydra.sweeper.workers=1", "hydra.launcher.time_limit_min=10", "data.metric=slow:accuracy",
            "data.direction=maximize", "data.demo_rows=600", "trainer.num_train_epochs=8,9",
            "trainer.evals_per_epoch=5", "hydra.sweeper.study.n_trials=1")  # fmt: skip
    sweep = launch(*long, cwd=tmp_path)
    await_(trains, "a trial that trains")
    task = f"{job_of(cluster)}_0"
    cluster.run("scontrol", "update", f"JobId={task}", "EndTime=now+30seconds")
    await_(lambda: cluster.jobs()[task] == "PENDING", "another start")
    cluster.run("scontrol", "update", f"JobId={task}", "TimeLimit=10")
    _, stderr = sweep.communicate(timeout=400)
    assert sweep.returncode == 0, stderr + logs(tmp_path)
    assert Counter(states(study())) == {"FAIL": 1, "COMPLETE": 1, "WAITING": 1} and deaths(study()) == 0
    steps = [(TrialRecord(trial).progress or Progress()).trained_steps for trial in study().trials]
    assert steps[0] > 20 and sum(steps) == 8 * 75, "each step was trained once"
    assert cluster.restarts() == 1 and logs(tmp_path).count("SLURM queues this worker again") == 1


def refused(sweep: Process) -> str:
    stdout, stderr = sweep.communicate(timeout=200)
    assert sweep.returncode == 2 and stdout == "" and "Traceback" not in stderr, stderr
    return str(stderr)


def test_what_slurm_or_other_hosts_cannot_do_is_refused_before_anything_is_written(
    launch: Callable[..., Process], tmp_path: Path
) -> None:
    one = "hydra.sweeper.workers=1"
    unknown = refused(launch(one, "hydra.launcher.partition=nowhere", cwd=tmp_path))
    assert "SLURM refuses the workers' job: " in unknown and "invalid partition" in unknown
    assert "node configuration is not available" in refused(
        launch(one, "hydra.launcher.mem=900G", cwd=tmp_path)
    )
    no_such_node = refused(launch(one, "hydra.launcher.options={nodelist: nowhere}", cwd=tmp_path))
    assert "Invalid node name" in no_such_node
    none = refused(launch(one, "hydra.launcher.array_parallelism=0", cwd=tmp_path))
    assert none.startswith("error: hydra.launcher.array_parallelism: got 0; legal: a whole number, 1 or more")
    apart = refused(launch(one, "hydra.launcher.partition=apart", cwd=tmp_path))
    assert "starts workers on other hosts (n1, n2)" in apart and apart.count("legal: ") == 7
    assert "hydra.sweeper.workers: got 'auto'; legal: a whole number" in refused(launch(cwd=tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that is not under /tmp, as folders are that hosts share."""
    folder = Path.home() / f".finesweep-test-{os.getpid()}"
    if is_local(folder):
        pytest.skip(f"{Path.home()} is a place of which each host has its own")
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def content(path: Path) -> bytes:
    """Reads a file; one that SLURM or a store has replaced meanwhile is empty."""
    with suppress(FileNotFoundError):
        return path.read_bytes()
    return b""


def test_two_other_hosts_share_a_study_in_postgresql_whose_servers_restart_and_no_password_is_recorded(
    cluster: SlurmCluster, launch: Callable[..., Process], shared: Path, undisturbed: dict[int, str]
) -> None:
    if not PostgresServer.is_installed():
        pytest.skip("no PostgreSQL server on this machine")
    canary = f"canary{uuid.uuid4().hex}"
    with postgres_server() as postgres, RestartingMlflow(shared / "mlflow") as mlflow:
        url = postgres.url.replace("sweeper@", f"sweeper:{canary}@")
        places = ("hydra.sweep.dir=outputs", "cache_dir=cache", "tracking.spool=spool")
        given = (
            f"hydra.sweeper.study.storage={url}", f"tracking.uri={mlflow.url}", "hydra.sweeper.workers=2",
            *(place.replace("=", f"={shared}/") for place in places), "hydra.launcher.partition=apart",
            "hydra.launcher.cpus_per_task=2",
        )  # fmt: skip
        assert "leave those of PostgreSQL to ~/.pgpass" in refused(launch(*given, cwd=shared))
        secrets = shared / "secrets.env"
        secrets.write_text(f"FINESWEEP_SECRET_HYDRA_SWEEPER_STUDY_STORAGE={url}\n")
        secrets.chmod(0o600)
        sweep = launch(*given, f"hydra.launcher.env_file={secrets}", cwd=shared)
        await_(lambda: len(cluster.jobs()) == 2, "two jobs")
        written = [path for path in [*cluster.folder.rglob("*"), *shared.rglob("*")] if path.is_file()]
        assert any(path.name == "script" for path in written), "SLURM keeps its jobs elsewhere"
        holding = [path for path in written if canary.encode() in content(path)]
        assert holding == [secrets]
        await_(lambda: trains(postgres.url), "a trial that trains", every=2)
        mlflow.stop()
        postgres.stop()
        time.sleep(3)
        postgres.start()
        mlflow.start()
        stdout, stderr = sweep.communicate(timeout=400)
        assert sweep.returncode == 0, stderr + "".join(
            p.read_text() for p in shared.glob("outputs/slurm/*.log")
        )
        assert canary not in stdout + stderr
        trials = studies.load("quickstart", postgres.url).trials
        assert [trial.state.name for trial in trials] == ["COMPLETE"] * 2
        assert deaths(studies.load("quickstart", postgres.url)) == 0
        assert weights(studies.load("quickstart", postgres.url)) == undisturbed
        assert {str(TrialRecord(trial).owner).partition("|")[0] for trial in trials} == {"n1", "n2"}
