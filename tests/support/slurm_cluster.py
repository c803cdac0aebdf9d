"""A SLURM cluster on loopback: munge, a controller, and a daemon for each node."""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from serving import free_port

PROGRAMS = ("slurmctld", "slurmd", "munged", "unshare")

CONF = """
ClusterName=finesweep
SlurmctldHost={here}(127.0.0.1)
SlurmctldPort={port}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,sched_min_interval=0,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MailProg=/bin/true
MpiDefault=none
KillWait=20
MinJobAge=60
ReturnToService=2
"""


def missing() -> str | None:
    """Names what a cluster needs and this machine or user lacks."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        return f"not installed: {', '.join(absent)} (Debian: slurm-wlm munge)"
    return "SLURM's daemons need root" if os.geteuid() else None


@dataclass
class SlurmCluster:
    """Its commands find it by the variable SLURM_CONF."""

    folder: Path

    @property
    def environ(self) -> dict[str, str]:
        return {"SLURM_CONF": f"{self.folder}/slurm.conf"}

    def run(self, *command: str) -> str:
        environ = os.environ | self.environ
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=True)
        return done.stdout

    def jobs(self) -> dict[str, str]:
        """Returns the state of each job and task that has not ended, by its id."""
        lines = self.run("squeue", "--noheader", "--array", "--format=%i %T").splitlines()
        return {job: state for job, state in map(str.split, lines)}

    def restarts(self) -> int:
        """Returns how often the first task of the last array was started again; SLURM soon forgets it."""
        shown = self.run("scontrol", "--oneliner", "show", "jobs")
        found = re.findall(r"ArrayTaskId=0 .*? Restarts=(\d+)", shown)
        return int(found[-1])

    def cancel_all(self) -> None:
        """Kills all jobs, and returns when the nodes are free."""
        self.run("scancel", "--user=root", "--state=PENDING")
        self.run("scancel", "--full", "--signal=KILL", "--user=root")
        self.run("scancel", "--user=root")
        self.await_idle()

    def await_idle(self) -> None:
        deadline = time.monotonic() + 120
        while set(self.run("sinfo", "--noheader", "--format=%T").split()) != {"idle"}:
            assert time.monotonic() < deadline, self.run("sinfo", "--list-reasons")
            time.sleep(0.2)


@contextmanager
def slurm_cluster(nodes: Sequence[str], partitions: Sequence[str], cpus: int = 1) -> Iterator[SlurmCluster]:
    """nodes: their host names; each that is not this host's gets a namespace in which it is.

    partitions: lines of slurm.conf, each behind PartitionName=.
    """
    folder = Path("/tmp") / f"finesweep-slurm-{os.getpid()}"  # short: a socket's path holds 107 characters
    folder.mkdir(mode=0o755)
    cluster = SlurmCluster(folder)
    (folder / "state").mkdir()
    lines = [CONF.format(here=socket.gethostname(), port=free_port(), folder=folder)]
    for node in nodes:
        place = f"NodeHostname={node} NodeAddr=127.0.0.1 Port={free_port()}"
        lines.append(f"NodeName={node} {place} CPUs={cpus} RealMemory=2000")
    lines += [f"PartitionName={partition}" for partition in partitions]
    (folder / "slurm.conf").write_text("\n".join(lines) + "\n")
    (folder / "hosts").write_text("".join(f"127.0.0.1 {name}\n" for name in ("localhost", *nodes)))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.enter_context(_munge(folder))
        stack.enter_context(_daemon(cluster, "slurmctld", "-D", "-i"))
        for node in nodes:
            stack.enter_context(_daemon(cluster, *_on(node, folder), "slurmd", "-D"))
        cluster.await_idle()
        yield cluster
        cluster.cancel_all()


@contextmanager
def _munge(folder: Path) -> Iterator[None]:
    """Runs the daemon by which SLURM's parts know each other, with a key of its own."""
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    socket_ = folder / "munge.socket"
    files = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
    command = ["munged", "--foreground", "--force", f"--socket={socket_}", *files]
    with _process(command, folder / "munged.log", {}) as munged:
        deadline = time.monotonic() + 30
        while not socket_.exists():
            assert munged.poll() is None and time.monotonic() < deadline, "munged did not start"
            time.sleep(0.05)
        yield


def _on(host: str, folder: Path) -> list[str]:
    """Returns the beginning of a command that runs on a host of this name."""
    if host == socket.gethostname():
        return []
    become = f'hostname {host} && mount --bind {folder}/hosts /etc/hosts && exec "$@"'
    return ["unshare", "--uts", "--mount", "sh", "-c", become, "sh"]


@contextmanager
def _daemon(cluster: SlurmCluster, *command: str) -> Iterator[None]:
    name = f"{command[0]}-{len(list(cluster.folder.glob('*.log')))}.log"
    with _process(list(command), cluster.folder / name, cluster.environ):
        yield


@contextmanager
def _process(command: list[str], log: Path, environ: dict[str, str]) -> "Iterator[subprocess.Popen[bytes]]":
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=os.environ | environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)
