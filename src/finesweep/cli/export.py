"""`finesweep export`: writes a run to a folder."""

import sys
from pathlib import Path

import click

from finesweep.cli import completing, options
from finesweep.config.run import TrackingConfig
from finesweep.io.terminal import show


@click.command()
@click.argument("run", metavar="RUN_ID", shell_complete=completing.runs)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@options.tracking
def export(run: str, folder: Path, tracking: TrackingConfig) -> None:
    """Write a run to a folder.

    DIR is a new folder; `finesweep reproduce DIR` trains the run again on another machine.
    """
    from finesweep.reproduce.export import export as write
    from finesweep.reproduce.recorded_run import load_recorded_run

    missing = write(load_recorded_run(run, tracking), folder, tracking)
    show(folder)
    if missing:
        show(f"the run has not kept, and {folder} lacks: {', '.join(missing)}", sys.stderr)
