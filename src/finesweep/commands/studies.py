"""`finesweep status` and `finesweep best`."""

import argparse
from dataclasses import asdict

from finesweep.commands import print_json
from finesweep.config import TrackingConfig
from finesweep.errors import ConfigError


def status(arguments: argparse.Namespace) -> None:
    """Raises: ConfigError, StudyError; KeyboardInterrupt, which ends the watching alone."""
    if arguments.watch and arguments.json:
        raise ConfigError("--watch: a table for people, not with --json; give one of the two")
    from finesweep.sweep import progress, report, study, table

    loaded = study.load(arguments.study, arguments.storage)
    found = report.describe(loaded)
    if arguments.json:
        print_json(asdict(found))
        return
    if arguments.watch:
        progress.follow(loaded, arguments.storage)
        found = report.describe(loaded)
    report.print_summary(found)
    table.print_running(loaded)


def best(arguments: argparse.Namespace) -> None:
    """Raises: ConfigError, StudyError, RunError."""
    from finesweep.sweep import report, study

    if arguments.yaml and arguments.json:
        raise ConfigError("--yaml: a config for train.py, not with --json; give one of the two")
    found = report.best(study.load(arguments.study, arguments.storage))
    if arguments.yaml:
        from finesweep.reproduce.export import config_yaml
        from finesweep.reproduce.past import load_past

        print(config_yaml(load_past(found.run_id, TrackingConfig(arguments.tracking_uri))), end="")
    elif arguments.json:
        print_json(asdict(found))
    else:
        print("\n".join(report.lines(found)))
