"""The script of a job array: what it asks of SLURM, what it starts, and that no secret gets there."""

import subprocess
from pathlib import Path

import pytest

from finesweep.cluster.batch import Batch, check_env_file
from finesweep.cluster.slurm import environment
from finesweep.config.rules import check_rules
from finesweep.config.slurm import SlurmConfig, check_times
from finesweep.errors import ConfigError


def batch(folder: Path, *command: str, workers: int = 3, **config: object) -> Batch:
    return Batch("my-study", command, workers, str(folder), folder, SlurmConfig(**config))  # type: ignore[arg-type]


def options(script: str) -> set[str]:
    return {line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH")}


def test_the_keys_become_options_of_sbatch(tmp_path: Path) -> None:
    given = {
        "partition": "gpu", "account": "me", "qos": "low", "time_limit_min": 90, "cpus_per_task": 4,
        "mem": "8G", "gres": "gpu:1", "array_parallelism": 2, "signal_lead_s": 30,
        "options": {"constraint": "a100 & big", "exclusive": True, "nice": None, "mail_type": "END"},
    }  # fmt: skip
    assert options(batch(tmp_path, "true", **given).script()) == {
        "--job-name=my-study", f"--chdir={tmp_path}", f"--output={tmp_path}/%A_%a.log", "--open-mode=append",
        "--array=0-2%2", "--signal=B:USR1@30", "--requeue", "--partition=gpu", "--account=me", "--qos=low",
        "--time=90", "--cpus-per-task=4", "--mem=8G", "--gres=gpu:1", "--constraint='a100 & big'",
        "--exclusive", "--mail-type=END",
    }  # fmt: skip


def test_what_is_not_given_is_left_to_the_cluster(tmp_path: Path) -> None:
    names = {option.partition("=")[0] for option in options(batch(tmp_path, "true").script())}
    own = ("job-name", "chdir", "output", "open-mode", "array", "signal", "requeue")
    assert names == {f"--{name}" for name in own}


@pytest.mark.parametrize("name", ["array", "job_name", "--constraint", "output", ""])
def test_an_option_that_finesweep_sets_itself_or_that_has_dashes_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"hydra\.launcher\.options: got .*; legal: sbatch's options"):
        check_rules(SlurmConfig(options={name: "x"}), "hydra.launcher.")


def test_a_worker_is_not_told_to_save_before_it_begins() -> None:
    check_times(SlurmConfig(time_limit_min=2, signal_lead_s=119))
    check_times(SlurmConfig(signal_lead_s=10_000))
    with pytest.raises(ConfigError, match=r"signal_lead_s: got 120; legal: less than the 120 s of"):
        check_times(SlurmConfig(time_limit_min=2, signal_lead_s=120))


def run(batch: Batch, **environ: str) -> str:
    done = subprocess.run(
        ["bash", str(batch.write())], env={"PATH": "/usr/bin:/bin", **environ}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_script_gets_everything_ready_and_becomes_the_worker(tmp_path: Path) -> None:
    """One process: it is the one that SLURM signals, and signals that come too early do not kill it."""
    secrets = tmp_path / "my secrets.env"
    secrets.write_text("TOKEN_OF_MINE='a b'\n")
    program = (
        "sh",
        "-c",
        'kill -USR1 $$; kill -USR2 $$; echo "$MODULE|$TOKEN_OF_MINE|$0|$@"',
        "a  word",
        "b",
    )
    made = batch(tmp_path, *program, setup=["export MODULE=loaded"], env_file=str(secrets))
    assert run(made) == "loaded|a b|a  word|b --reserve 180\n"
    assert "a b" not in made.script()


def test_errors_that_ended_workers_are_told_once(tmp_path: Path) -> None:
    for task in range(2):
        (tmp_path / f"7_{task}.log").write_text("slurmstepd-n1: error: *** JOB\nerror: host n1: no data\n")
    (tmp_path / "6_0.log").write_text("error: of another job\n")
    assert batch(tmp_path, "true").problems("7") == ["7_0.log: error: host n1: no data"]


def test_a_worker_knows_when_it_is_told_to_save(tmp_path: Path) -> None:
    """SLURM's signal may come a minute early."""
    assert run(batch(tmp_path, "echo", signal_lead_s=40)) == "--reserve 100\n"


def test_no_secret_is_in_the_environment_that_slurm_records(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {
        "HF_TOKEN": "hf_123",
        "FINESWEEP_SECRET_TRACKING_URI": "http://a:b@c",
        "DB": "postgresql://a:b@c/d",
    }
    of_another_job = {"SLURM_JOB_ID": "1", "SLURM_MEM_PER_NODE": "9", "SBATCH_JOB_NAME": "mine"}
    kept = {
        "SLURM_CONF": "/etc/slurm.conf",
        "SBATCH_PARTITION": "gpu",
        "OMP_NUM_THREADS": "2",
        "HOST": "http://c",
    }
    for name, value in {**secrets, **of_another_job, **kept}.items():
        monkeypatch.setenv(name, value)
    recorded = environment()
    assert not {*secrets, *of_another_job} & recorded.keys()
    assert kept.items() <= recorded.items()


def test_a_file_of_secrets_is_for_its_owner_alone_and_has_what_the_workers_need(tmp_path: Path) -> None:
    path = tmp_path / "secrets.env"
    path.write_text("A_TOKEN=x\nexport STORAGE=postgresql://a:b@c/d\n")
    path.chmod(0o640)
    with pytest.raises(ConfigError, match=f"{path}: others may read it .mode 640.; chmod 600 {path}"):
        check_env_file(str(path), [])
    path.chmod(0o600)
    check_env_file(str(path), ["STORAGE", "A_TOKEN"])
    with pytest.raises(ConfigError, match="has no line TRACKING="):
        check_env_file(str(path), ["STORAGE", "TRACKING"])
    with pytest.raises(ConfigError, match=r"hydra\.launcher\.env_file: .*gone: cannot be read"):
        check_env_file(str(tmp_path / "gone"), [])
    with pytest.raises(ConfigError, match="need STORAGE, which hold passwords"):
        check_env_file(None, ["STORAGE"])
    check_env_file(None, [])
