"""SLURM's commands: what finesweep asks of it, and what its answers mean."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from finesweep.errors import ConfigError
from finesweep.io.redaction import SECRET_NAME, is_secret

TIMEOUT_S = 60  # for an answer; SLURM's own default is 10 s for each message
POLL_S = (1.0, 15.0)  # between two looks at a job: at first, and later on, to spare the controller
REFERENCE = re.compile(r"\$\{oc\.env:(\w+)")
GONE = "Invalid job id"  # of a job that ended some minutes ago
# Of a job that this process runs in, they describe another job than the one to submit.
INHERITED = re.compile(
    r"SLURM_(?!CONF$|CLUSTERS$)|SBATCH_(ARRAY|ERROR|EXPORT|JOB_NAME|NO_REQUEUE|OPEN_MODE|OUTPUT|SIGNAL)"
)


def check_installed() -> None:
    """Raises: ConfigError where SLURM's commands are not installed."""
    if shutil.which("sbatch") is None:
        raise ConfigError(
            "hydra/launcher=slurm: there is no sbatch here; start this command where SLURM takes jobs, "
            "usually on a login node"
        )


def check_batch(script: str) -> None:
    """Asks SLURM whether it would take a script. Raises: ConfigError with SLURM's own words."""
    _sbatch("--test-only", *_options(script), stdin=script)


def submit(script: Path) -> str:
    """Submits a script and returns the id of its job. Raises: ConfigError with SLURM's own words."""
    return _sbatch("--parsable", *_options(script.read_text()), str(script)).partition(";")[0].strip()


def _options(script: str) -> list[str]:
    """Returns a script's options for the command line: variables such as SBATCH_TIMELIMIT outrank it."""
    lines = (line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH "))
    return [word for line in lines for word in shlex.split(line)]


def _sbatch(*arguments: str, stdin: str = "") -> str:
    done = _run("sbatch", *arguments, stdin=stdin, env=environment())
    if done.returncode:
        words = " ".join(re.sub(r"^(sbatch: )?(error: )?", "", line) for line in done.stderr.splitlines())
        raise ConfigError(f"hydra.launcher: SLURM refuses the workers' job: {words}")
    return done.stdout


def environment() -> dict[str, str]:
    """Returns the variables that SLURM records with a job: this process's, without secrets."""
    return {
        name: value
        for name, value in os.environ.items()
        if not SECRET_NAME.fullmatch(name) and not is_secret("", value) and not INHERITED.match(name)
    }


def unsent(texts: Sequence[str]) -> list[str]:
    """Lists the variables that texts refer to, as in ``${oc.env:NAME}``, and that SLURM does not get."""
    named = {name for text in texts for name in REFERENCE.findall(text)}
    return sorted((named & os.environ.keys()) - environment().keys())


def await_end(job: str, is_stopped: Callable[[], bool], say: Callable[[str], None]) -> None:
    """Returns when no task of a job array runs or is pending any more.

    is_stopped: tells whether the workers were asked to stop; those that have not begun are then cancelled.
    """
    began, told, cancelled = time.monotonic(), False, False
    while (pending := is_queued(job)) is not False:
        if pending is None and not told:
            say(f"SLURM does not answer; the workers of job {job} do not need it, and this command waits")
        told = pending is None
        if is_stopped() and not cancelled:
            cancelled = cancel_waiting(job)
        fast, slow = POLL_S
        time.sleep(min(slow, fast + (time.monotonic() - began) / 60))


def cancel_waiting(task: str) -> bool:
    """Cancels those tasks of an array that have not begun. Returns whether SLURM answered."""
    return _run("scancel", "--state=PENDING", task.partition("_")[0]).returncode == 0


def is_queued(job: str) -> bool | None:
    """Tells whether a job runs or waits; None if SLURM does not answer."""
    done = _run("squeue", "--noheader", f"--jobs={job}", "--format=%T")
    if done.returncode == 0:
        return bool(done.stdout.strip())
    return False if GONE in done.stderr else None


def hosts(partition: str | None) -> dict[str, str]:
    """Returns the hosts of a partition, by default the cluster's own choice: name -> address.

    Raises: ConfigError if SLURM does not answer.
    """
    if partition is None:
        defaults = [shown["PartitionName"] for shown in _show("partitions") if shown["Default"] == "YES"]
        partition = next(iter(defaults), None)
    wanted = set(partition.split(",")) if partition else None
    nodes = [
        node
        for node in _show("nodes")
        if wanted is None or wanted & set(node.get("Partitions", "").split(","))
    ]
    names = [node.get("NodeHostName") or node["NodeName"] for node in nodes]
    return {name: node.get("NodeAddr", name) for name, node in zip(names, nodes, strict=True)}


def _show(kind: str) -> list[dict[str, str]]:
    done = _run("scontrol", "--oneliner", "show", kind)
    if done.returncode:
        raise ConfigError(f"hydra/launcher=slurm: SLURM does not answer: {done.stderr.strip()}")
    return [dict(re.findall(r"(\w+)=(\S*)", line)) for line in done.stdout.splitlines() if "=" in line]


def this_task() -> str | None:
    """Returns the id of the job, or of the task of an array, that this process runs in."""
    job, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{job}_{task}" if job and task else os.environ.get("SLURM_JOB_ID")


def restarts() -> int:
    """Returns how often SLURM has started this process's job again."""
    return int(os.environ.get("SLURM_RESTART_COUNT", 0))


def end_time() -> float | None:
    """Returns when the time limit ends this process's job, in seconds since 1970.

    None without a limit, outside of a job, and where SLURM does not say.
    """
    if (task := this_task()) is None:
        return None
    if (known := os.environ.get("SLURM_JOB_END_TIME", "")).isdecimal():  # SLURM 23 and newer
        return float(known)
    shown = _run("squeue", "--noheader", f"--jobs={task}", "--format=%e").stdout.strip()
    try:
        return datetime.fromisoformat(shown).timestamp()
    except ValueError:
        return None


def requeue(task: str) -> str:
    """Has SLURM start a job again with the same id, unless it ends it for good. Says what will be.

    SLURM would also start a cancelled job again. It shows a job that it has begun to end as COMPLETING.
    Side effect: this process ignores the SIGTERM with which SLURM then ends what the job still runs.
    """
    shown = _run("scontrol", "--oneliner", "show", "job", task).stdout
    if "JobState=COMPLETING" in shown and "Reason=TimeLimit" not in shown:
        return "SLURM ends this job by itself: it was cancelled, or is queued again already"
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    done = _run("scontrol", "requeue", task)
    if done.returncode:
        return f"SLURM does not start this worker again: {done.stderr.strip()}"
    return f"SLURM queues this worker again, as {task}"


def _run(
    *command: str, stdin: str = "", env: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Runs one of SLURM's commands, which a Ctrl-C in this terminal does not reach."""
    try:
        return subprocess.run(
            command, input=stdin, env=env, capture_output=True, text=True, timeout=TIMEOUT_S,
            start_new_session=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no answer within {TIMEOUT_S} s")
    except OSError as error:  # in a container, for example, which has SLURM's variables and not its commands
        return subprocess.CompletedProcess(command, 127, "", f"{command[0]}: {error.strerror}")
