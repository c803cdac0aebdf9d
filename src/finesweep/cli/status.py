"""`finesweep status`: shows the state of a study's trials."""

from dataclasses import asdict

import click

from finesweep.cli import completing, options
from finesweep.cli.output import print_json
from finesweep.errors import ConfigError


@click.command()
@click.argument("study", shell_complete=completing.studies)
@click.option("--watch", is_flag=True, help="Show a live table until no worker is at work on the study.")
@options.storage
@options.as_json
def status(study: str, watch: bool, storage: str, as_json: bool) -> None:
    """Show the state of a study, and its best trial so far."""
    if watch and as_json:
        raise ConfigError("--watch: not with --json, for it draws a table for people; give one of the two")
    from finesweep.monitor import progress, report, summary, table
    from finesweep.study.reading import read_study

    loaded = read_study(study, storage)
    if as_json:
        print_json(asdict(report.describe(loaded)))
        return
    if watch:
        progress.follow(loaded, storage)
    summary.print_summary(report.describe(loaded))
    table.print_running(loaded)
