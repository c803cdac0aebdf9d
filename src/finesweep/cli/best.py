"""`finesweep best`: shows the best trial of a study."""

from dataclasses import asdict

import click

from finesweep.cli import completing, options
from finesweep.cli.output import print_answer
from finesweep.config.run import TrackingConfig
from finesweep.errors import ConfigError


@click.command()
@click.argument("study", shell_complete=completing.studies)
@click.option(
    "--yaml", "as_yaml", is_flag=True,
    help="Print its config, for: finesweep train --config-dir DIR --config-name NAME",
)  # fmt: skip
@options.storage
@options.tracking
@options.as_json
def best(study: str, as_yaml: bool, storage: str, tracking: TrackingConfig, as_json: bool) -> None:
    """Show the best trial of a study.

    It prints the trial's parameters, its score, and the command that runs it again.
    """
    from finesweep.monitor import report, summary
    from finesweep.study.reading import read_study

    if as_yaml and as_json:
        raise ConfigError("--yaml: not with --json; give one of the two")
    trial = report.best(read_study(study, storage))
    if as_yaml:
        from finesweep.reproduce.export import config_yaml
        from finesweep.reproduce.recorded_run import load_recorded_run

        print(config_yaml(load_recorded_run(trial.run_id, tracking)), end="")
    else:
        print_answer(as_json, asdict(trial), "\n".join(summary.lines(trial)))
