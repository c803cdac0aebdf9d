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
@click.option(
    "--against", type=int, metavar="TRIAL",
    help="Test whether it differs from this trial, too, on the evaluation rows.",
)  # fmt: skip
@options.storage
@options.tracking
@options.as_json
def best(
    study: str, as_yaml: bool, against: int | None, storage: str, tracking: TrackingConfig, as_json: bool
) -> None:
    """Show the best trial of a study.

    It prints the trial's parameters, its score, and the command that runs it again.
    """
    from finesweep.monitor import report, summary
    from finesweep.study.certainty import Certainty
    from finesweep.study.reading import read_study

    if as_yaml and (as_json or against is not None):
        raise ConfigError("--yaml: not with --json or --against; give one of them")
    trial = report.best(read_study(study, storage))
    if against is not None:
        from finesweep.inference.comparing import compare
        from finesweep.inference.origin import Stores

        certainty = trial.certainty or Certainty(trial.trial, chosen_of=trial.chosen_of)
        certainty.comparisons.append(compare(study, trial.trial, against, Stores(storage, tracking)))
        trial.certainty = certainty
    if as_yaml:
        from finesweep.reproduce.export import config_yaml
        from finesweep.reproduce.recorded_run import load_recorded_run

        print(config_yaml(load_recorded_run(trial.run_id, tracking)), end="")
    else:
        print_answer(as_json, asdict(trial), "\n".join(summary.lines(trial)))
