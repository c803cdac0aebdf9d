"""`finesweep register`: puts a study's winner into MLflow's model registry."""

import click

from finesweep.cli import completing, options
from finesweep.config.run import TrackingConfig
from finesweep.errors import ConfigError
from finesweep.io.terminal import show


@click.command()
@click.argument("study", shell_complete=completing.studies)
@click.argument("name")
@options.storage
@options.tracking
def register(study: str, name: str, storage: str, tracking: TrackingConfig) -> None:
    """Register the winner of STUDY as the model NAME.

    It becomes a new version of the model, with the alias `champion`. A winner that is a version already gets
    the alias alone.
    """
    if not name.strip() or set("/:'\"") & set(name):
        raise ConfigError.at("NAME", name, "a text without / : and quotes")
    from finesweep import tracking as runs
    from finesweep.monitor.report import best
    from finesweep.study.reading import read_study

    winner = best(read_study(study, storage))
    runs.find_run(tracking, winner.run_id)  # a store that is not there is not made
    version, is_new = runs.register(tracking, winner.run_id, name)
    state = "registered" if is_new else "registered already"
    show(f"{name} version {version}: trial {winner.trial} of {study}, {state}; alias {runs.ALIAS}")
    show(f"models:/{name}@{runs.ALIAS}")
