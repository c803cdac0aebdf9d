"""`finesweep runs`: lists the runs of a study."""

from dataclasses import asdict

import click

from finesweep.cli import completing, options
from finesweep.cli.output import print_answer


@click.command()
@click.argument("study", shell_complete=completing.studies)
@options.storage
@options.as_json
def runs(study: str, storage: str, as_json: bool) -> None:
    """List the runs of a study, one for each trial.

    Where a command takes a RUN_ID, the beginning of an id that the table shows is enough.
    """
    from finesweep.monitor import listing
    from finesweep.study.reading import read_study
    from finesweep.study.records import StudyRecord

    loaded = read_study(study, storage)
    rows = listing.run_rows(loaded)
    objectives = list(StudyRecord(loaded).objectives or {}) or [StudyRecord(loaded).metric]
    print_answer(as_json, [asdict(row) for row in rows], listing.runs_table(rows, objectives))
