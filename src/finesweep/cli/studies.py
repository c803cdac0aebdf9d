"""`finesweep status` and `finesweep best`."""

import argparse
from dataclasses import asdict

from finesweep.cli.output import print_json
from finesweep.config.run import TrackingConfig
from finesweep.errors import ConfigError


def status(arguments: argparse.Namespace) -> None:
    """Raises: ConfigError, StudyError; KeyboardInterrupt, which ends the watching alone."""
    if arguments.watch and arguments.json:
        raise ConfigError("--watch: a table for people, not with --json; give one of the two")
    from finesweep.monitor import progress, report, table
    from finesweep.study import storage

    loaded = storage.load(arguments.study, arguments.storage)
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
    from finesweep.monitor import report
    from finesweep.study import storage

    if arguments.yaml and arguments.json:
        raise ConfigError("--yaml: a config for train.py, not with --json; give one of the two")
    found = report.best(storage.load(arguments.study, arguments.storage))
    if arguments.yaml:
        from finesweep.reproduce.export import config_yaml
        from finesweep.reproduce.recorded_run import load_recorded_run

        print(config_yaml(load_recorded_run(found.run_id, TrackingConfig(arguments.tracking_uri))), end="")
    elif arguments.json:
        print_json(asdict(found))
    else:
        print("\n".join(report.lines(found)))
