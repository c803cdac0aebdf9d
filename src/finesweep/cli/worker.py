"""`finesweep worker`: runs trials of a study that another command has made, on this host."""

import os
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from finesweep.cli import options
from finesweep.errors import ConfigError, StudyError

if TYPE_CHECKING:
    from finesweep.study.records import Request


def _count(_: click.Context, parameter: click.Parameter, value: str) -> int | str:
    if value == "auto":
        return value
    if not value.isdecimal() or int(value) < 1:
        raise ConfigError.at("--workers", value, "auto, or a whole number, 1 or more")
    return int(value)


@click.command()
@click.argument("study")
@options.storage
@click.option("--tracking-uri", metavar="URL", help="MLflow store; by default the one of the sweep.")
@click.option(
    "--project", metavar="DIR", help="Folder that the sweep was started in, by its name on this host."
)
@click.option(
    "--workers", default="1", show_default=True, metavar="N|auto", callback=_count,
    help="How many to run; auto: as many as fit this host.",
)  # fmt: skip
@click.option("--command", hidden=True, help="The process that launched this worker.")
def worker(
    study: str,
    storage: str,
    tracking_uri: str | None,
    project: str | None,
    workers: int | str,
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
    joining.set(Joining(workers, command))
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
    return [*options, "-m", *kept, *hide([f"{key}={encode(value)}" for key, value in given.items()])]
