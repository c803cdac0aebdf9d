"""`finesweep worker`: runs trials of a study that another command has made, on this host."""

import math
import os
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from finesweep.cli import completing, options
from finesweep.errors import ConfigError, StudyError

if TYPE_CHECKING:
    from finesweep.study.records import Request


def _count(_: click.Context, parameter: click.Parameter, value: str) -> int | str:
    if value == "auto":
        return value
    if not value.isdecimal() or int(value) < 1:
        raise ConfigError.at("--workers", value, "auto, or a whole number, 1 or more")
    return int(value)


def _seconds(_: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        name = f"--{str(parameter.name).replace('_', '-')}"
        raise ConfigError.at(name, value, "seconds: a number, 0 or more")
    return seconds


def _end(time_limit: float | None, reserve: float) -> float | None:
    """Returns when the trials shall be over, in seconds since 1970."""
    from finesweep.cluster import slurm

    ends_at = slurm.end_time() if time_limit is None else time.time() + time_limit
    return None if ends_at is None else ends_at - reserve


@click.command()
@click.argument("study", shell_complete=completing.studies)
@options.storage
@click.option("--tracking-uri", metavar="URL", help="MLflow store; by default the one of the sweep.")
@click.option(
    "--project", metavar="DIR", help="Folder that the sweep was started in, by its name on this host."
)
@click.option(
    "--workers", default="1", show_default=True, metavar="N|auto", callback=_count,
    help="How many to run; auto: as many as fit this host.",
)  # fmt: skip
@click.option(
    "--time-limit", metavar="SECONDS", callback=_seconds,
    help="How long this command may run: it takes no trial that it could not finish. By default, what SLURM "
    "says of its job.",
)  # fmt: skip
@click.option(
    "--reserve", default="60", show_default=True, metavar="SECONDS", callback=_seconds,
    help="How long before the end of that time the trials shall be over.",
)  # fmt: skip
@click.option("--command", hidden=True, help="The process that launched this worker.")
def worker(
    study: str,
    storage: str,
    tracking_uri: str | None,
    project: str | None,
    workers: int | str,
    time_limit: float | None,
    reserve: float,
    command: str | None,
) -> None:
    """Run trials of a study on this host, until none is left.

    Everything else is read from the study: start as many of these as you like, on any host, at any time.
    """
    from finesweep.cli.train import run_hydra
    from finesweep.config.folders import CONF
    from finesweep.config.joining import Joining, joining
    from finesweep.config.places import absolute_url
    from finesweep.io.job_secrets import dereferenced

    ends_at = _end(time_limit, reserve)
    storage = absolute_url(dereferenced("--storage", storage), Path.cwd())
    request, program = _request(study, storage)
    if project:
        request = _moved(request, Path(project).absolute())
    if not Path(request.project).is_dir():
        raise ConfigError(
            f"--project: host {socket.gethostname()} has no folder {request.project}, in which the sweep was "
            "started; share it with this host, or name it here: --project DIR"
        )
    os.chdir(request.project)
    joining.set(Joining(workers, command, ends_at))
    sys.argv = [program, *_arguments(request, study, storage, tracking_uri)]
    run_hydra(Path.cwd(), program, Path(request.conf) if request.conf else CONF)


def _request(study: str, storage: str) -> "tuple[Request, str]":
    """Returns how the sweep was asked for, and by which program. Raises: StudyError, ConfigError."""
    from finesweep.study.reading import read_study
    from finesweep.study.records import StudyRecord

    record = StudyRecord(read_study(study, storage))
    if record.request is None or record.last_command is None:
        raise StudyError(
            f"study {study!r}: was last started by an earlier version, which did not note how; start its "
            "command once more, and workers can join it"
        )
    return record.request, record.last_command.program


def _moved(request: "Request", project: Path) -> "Request":
    """Returns the request with its folders as they are named on this host."""

    def moved(folder: str | None) -> str | None:
        if folder is None or not Path(folder).is_relative_to(request.project):
            return folder
        return str(project / Path(folder).relative_to(request.project))

    return replace(
        request, project=str(project), conf=moved(request.conf), config_dir=moved(request.config_dir)
    )


def _arguments(request: "Request", study: str, storage: str, tracking_uri: str | None) -> list[str]:
    """Writes Hydra's arguments: those of the sweep, with the addresses and the name that are given here."""
    from finesweep.io.job_secrets import hide
    from finesweep.study.encode import encode

    given = {"hydra.sweeper.study.storage": storage, "hydra.sweeper.study.name": study}
    if tracking_uri:
        given["tracking.uri"] = tracking_uri
    kept = [text for text in request.arguments if text.lstrip("+").partition("=")[0] not in given]
    options = ["--config-name", request.config_name]
    if request.config_dir:
        options += ["--config-dir", request.config_dir]
    return [*options, "-m", *hide([*kept, *(f"{key}={encode(value)}" for key, value in given.items())])]
