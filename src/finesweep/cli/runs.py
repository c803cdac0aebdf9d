"""`finesweep reproduce`, `export` and `diff`: runs that are over."""

import argparse
import sys
from dataclasses import asdict
from typing import TextIO

from finesweep.cli.output import print_json
from finesweep.config.run import RunConfig, TrackingConfig
from finesweep.errors import ConfigError, DataError, ModelError, NotReproduced
from finesweep.provenance.differences import Change
from finesweep.reproduce.rebuild import is_override, pin, rebuild
from finesweep.reproduce.recorded_run import RecordedRun, load_recorded_run, store_differences


def reproduce(arguments: argparse.Namespace) -> None:
    """Raises: NotReproduced if it came out otherwise; RunError, ConfigError, ... if it cannot be tried."""
    from finesweep.reproduce import render

    where, overrides = _which(arguments)
    tracking = TrackingConfig(arguments.tracking_uri)
    recorded = load_recorded_run(where, tracking)
    recorded.check_finished()
    config = rebuild(recorded, overrides, tracking)
    pin(recorded.record.machine, config.trainer.threads)
    is_answer = arguments.dry_run and not arguments.json
    changes = _compare_conditions(recorded, config, overrides, sys.stdout if is_answer else sys.stderr)
    if arguments.dry_run:
        _print(arguments, {"run_id": recorded.run_id, "changes": [asdict(change) for change in changes]}, "")
    elif arguments.seeds:
        from finesweep.reproduce.seeds import train_seeds

        luck = train_seeds(recorded, config, overrides, arguments.seeds, changes)
        _print(arguments, asdict(luck), render.luck(luck))
    else:
        _repeat(arguments, recorded, config, overrides, changes)


def _which(arguments: argparse.Namespace) -> tuple[str, list[str]]:
    """The run's id or folder, and the overrides: with --best, the first argument is one of them already."""
    given = [text for text in (arguments.run, *arguments.overrides) if text]
    if given and is_override(given[0]) == (arguments.best is None):
        raise ConfigError(f"{given[0]}: legal: RUN_ID [key=value ...], or --best STUDY [key=value ...]")
    if arguments.best:
        from finesweep.monitor import report
        from finesweep.study import storage

        return report.best(storage.load(arguments.best, arguments.storage)).run_id, given
    if not given:
        raise ConfigError("nothing to reproduce; legal: RUN_ID, an exported folder, or --best STUDY")
    return given[0], given[1:]


def _compare_conditions(
    recorded: RecordedRun, config: RunConfig, overrides: list[str], to: TextIO
) -> list[Change]:
    """Reads data and model, and says what differs from the record, before anything is trained."""
    from finesweep.training import preflight

    try:
        preflight.check(config)
    except (DataError, ModelError) as error:
        hint = "where it is now goes behind the run: data.path=PLACE, model.name_or_path=PLACE"
        raise type(error)(f"{error}; {hint}") from error
    from finesweep.machine import device
    from finesweep.provenance import collect
    from finesweep.provenance.differences import differences
    from finesweep.reproduce import render
    from finesweep.training.inputs import load_inputs

    device.prepare(config.trainer)
    now = collect(config, overrides, load_inputs(config).content)
    changes = [*store_differences(recorded), *differences(recorded.record, now)]
    print(render.conditions(changes), file=to)
    return changes


def _repeat(
    arguments: argparse.Namespace,
    recorded: RecordedRun,
    config: RunConfig,
    overrides: list[str],
    changes: list[Change],
) -> None:
    from finesweep.reproduce import render
    from finesweep.reproduce.rerun import record_verdict, rerun
    from finesweep.reproduce.verdict import DIFFERENT, judge

    found = judge(recorded, rerun(recorded, config, overrides), changes, arguments.tolerance)
    record_verdict(found, config.tracking)
    _print(arguments, found.to_dict(), render.verdict(found))
    if found.verdict == DIFFERENT:
        raise NotReproduced(f"run {recorded.run_id} was not reproduced; likely cause: {found.cause}")


def export(arguments: argparse.Namespace) -> None:
    from finesweep.reproduce.export import export as write

    tracking = TrackingConfig(arguments.tracking_uri)
    missing = write(load_recorded_run(arguments.run, tracking), arguments.folder, tracking)
    print(arguments.folder)
    if missing:
        print(f"not kept by the run, and so not in it: {', '.join(missing)}", file=sys.stderr)


def diff(arguments: argparse.Namespace) -> None:
    from finesweep.reproduce.diff import diff_runs, lines

    tracking = TrackingConfig(arguments.tracking_uri)
    one, other = (load_recorded_run(run, tracking) for run in (arguments.one, arguments.other))
    found = diff_runs(one, other)
    _print(arguments, asdict(found), lines(found, (one.name, other.name)))


def _print(arguments: argparse.Namespace, document: dict[str, object], text: str) -> None:
    if arguments.json:
        print_json(document)
    elif text:
        print(text)
