"""The script that SLURM runs for each worker. It is kept in the sweep's folder, for a person to read."""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from finesweep.config.slurm import SlurmConfig
from finesweep.errors import ConfigError
from finesweep.io.atomic import write_text

LATENESS_S = 60  # by which SLURM's signal before the time limit may come too early. Source: man sbatch


@dataclass(frozen=True)
class Batch:
    """A job array of workers, each of which runs the same command."""

    study: str
    command: Sequence[str]
    workers: int
    project: str
    folder: Path  # of script and logs
    config: SlurmConfig

    def script(self) -> str:
        """Returns the text of the script.

        `exec` makes the worker the process that SLURM signals. USR1 and USR2 are ignored until it listens: a
        signal that came while it still imports would kill it.
        """
        reserve_s = self.config.signal_lead_s + LATENESS_S
        return "\n".join(
            [
                "#!/bin/bash",
                *(f"#SBATCH {option}" for option in self._options()),
                "",
                "trap '' USR1 USR2",
                *self._secrets(),
                *self.config.setup,
                f"exec {shlex.join([*self.command, '--reserve', str(reserve_s)])}",
                "",
            ]
        )

    def write(self) -> Path:
        """Writes the script into the folder of the logs, under a name of its own. Returns its path."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"workers-{datetime.now():%Y-%m-%d_%H-%M-%S-%f}.sh"
        write_text(path, self.script())
        return path

    def submitted(self, job: str) -> list[str]:
        """Says where the workers are, how to look at them, and how to end them."""
        many = "s" if self.workers > 1 else ""
        return [
            f"SLURM job {job}: {self.workers} worker{many}, logs in {self.folder}/{job}_*.log",
            f"  they need neither this command nor this shell; look: squeue --job {job}, end: scancel {job}",
        ]

    def problems(self, job: str) -> list[str]:
        """Lists the errors that ended workers, each with the first log that has it."""
        found: dict[str, str] = {}
        for path in sorted(self.folder.glob(f"{job}_*.log")):
            for line in path.read_text(errors="replace").splitlines():
                if line.startswith("error: "):
                    found.setdefault(line, path.name)
        return [f"{log}: {line}" for line, log in found.items()]

    def _options(self) -> Iterator[str]:
        config = self.config
        parallel = f"%{config.array_parallelism}" if config.array_parallelism else ""
        log = str(self.folder / "%A_%a.log").replace("\\", "\\\\")
        own = {
            "job-name": self.study, "chdir": self.project, "output": log, "open-mode": "append",
            "array": f"0-{self.workers - 1}{parallel}", "signal": f"B:USR1@{config.signal_lead_s}",
            "partition": config.partition, "account": config.account, "qos": config.qos,
            "time": config.time_limit_min, "cpus-per-task": config.cpus_per_task, "mem": config.mem,
            "gres": config.gres, "requeue": True,
        }  # fmt: skip
        for name, value in {**own, **config.options}.items():
            if value is True:
                yield f"--{name.replace('_', '-')}"
            elif value is not None and value is not False:  # 0 is a value
                yield f"--{name.replace('_', '-')}={shlex.quote(str(value))}"

    def _secrets(self) -> Iterator[str]:
        """Reads the file of secrets where the worker runs: neither script nor job record holds one."""
        if self.config.env_file:
            yield f"set -a; . {shlex.quote(self.config.env_file)}; set +a"


def check_env_file(given: str | None, needed: Sequence[str]) -> None:
    """Checks that the workers get the secrets that this command has, and that nobody else can read them.

    given: `hydra.launcher.env_file`. needed: the names of variables that stand for secrets.
    Raises: ConfigError.
    """
    key = "hydra.launcher.env_file"
    if given is None:
        if needed:
            raise ConfigError(
                f"{key}: the workers need {', '.join(needed)}, which hold passwords, and SLURM shall "
                "record none; leave those of PostgreSQL to ~/.pgpass, or write lines NAME='VALUE' into a "
                "file of mode 600 and name it here"
            )
        return
    path = Path(given)
    try:
        mode, text = path.stat().st_mode, path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{key}: {given}: cannot be read ({error})") from error
    if mode & 0o077:
        raise ConfigError(f"{key}: {given}: others may read it (mode {mode & 0o777:o}); chmod 600 {given}")
    missing = [name for name in needed if not re.search(rf"^(export )?{name}=", text, re.MULTILINE)]
    if missing:
        raise ConfigError(f"{key}: {given}: has no line {missing[0]}=...; the workers need it")
