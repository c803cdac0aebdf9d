"""Defines the options that several verbs share."""

import click

from finesweep.config.run import TrackingConfig
from finesweep.config.study import StudyConfig

# A verb receives it as `storage`: the URL of Optuna's database.
storage = click.option(
    "--storage",
    metavar="URL",
    default=StudyConfig().storage,
    show_default=True,
    help="Optuna database.",
)
# A verb receives it as `tracking`: the whole TrackingConfig.
tracking = click.option(
    "--tracking-uri", "tracking", metavar="URL", type=TrackingConfig, default=TrackingConfig().uri,
    show_default=True, help="MLflow store.",
)  # fmt: skip
# A verb receives it as `as_json`.
as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document to stdout, and nothing else there."
)
