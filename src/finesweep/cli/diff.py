"""`finesweep diff`: compares two runs."""

from dataclasses import asdict

import click

from finesweep.cli import completing, options
from finesweep.cli.output import print_answer
from finesweep.config.run import TrackingConfig


@click.command()
@click.argument("run_a", metavar="RUN_A", shell_complete=completing.runs)
@click.argument("run_b", metavar="RUN_B", shell_complete=completing.runs)
@options.tracking
@options.as_json
def diff(run_a: str, run_b: str, tracking: TrackingConfig, as_json: bool) -> None:
    """Compare two runs.

    It compares config, data, model, code, machine, packages and results. RUN_A and RUN_B are ids of runs, or
    folders that `finesweep export` wrote.
    """
    from finesweep.reproduce.diff import diff_runs, lines
    from finesweep.reproduce.recorded_run import load_recorded_run

    first, second = load_recorded_run(run_a, tracking), load_recorded_run(run_b, tracking)
    compared = diff_runs(first, second)
    print_answer(as_json, asdict(compared), lines(compared, (first.name, second.name)))
