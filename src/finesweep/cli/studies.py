"""`finesweep studies`: lists the studies of a storage."""

import sys
from dataclasses import asdict

import click

from finesweep.cli import options
from finesweep.cli.output import print_answer
from finesweep.io.terminal import show


@click.command()
@options.storage
@options.as_json
def studies(storage: str, as_json: bool) -> None:
    """List the studies: finished trials, the best value and its run."""
    from finesweep.monitor import listing
    from finesweep.study.reading import read_studies

    rows, others = listing.study_rows(read_studies(storage))
    print_answer(as_json, [asdict(row) for row in rows], listing.studies_table(rows))
    if others:
        show(f"not made by finesweep: {', '.join(others)}", sys.stderr)
