"""`finesweep reproduce`, `export` and `diff`: runs that are over."""

import argparse
import sys
from dataclasses import asdict
from typing import TextIO

from finesweep.commands import print_json
from finesweep.config import RunConfig, TrackingConfig
from finesweep.errors import ConfigError, DataError, ModelError, NotReproduced
from finesweep.provenance.differences import Change
from finesweep.reproduce.past import Past, load_past, store_differences
from finesweep.reproduce.rebuild import is_override, pin, rebuild


def reproduce(arguments: argparse.Namespace) -> None:
    """Raises: NotReproduced if it came out otherwise; RunError, ConfigError, ... if it cannot be tried."""
    from finesweep.reproduce import show

    where, overrides = _which(arguments)
    tracking = TrackingConfig(arguments.tracking_uri)
    past = load_past(where, tracking)
    past.check_finished()
    config = rebuild(past, overrides, tracking)
    pin(past.record.machine, config.trainer.threads)
    is_answer = arguments.dry_run and not arguments.json
    changes = _check_ground(past, config, overrides, sys.stdout if is_answer else sys.stderr)
    if arguments.dry_run:
        _print(arguments, {"run_id": past.run_id, "changes": [asdict(change) for change in changes]}, "")
    elif arguments.seeds:
        from finesweep.reproduce.luck import reseed

        luck = reseed(past, config, overrides, arguments.seeds, changes)
        _print(arguments, asdict(luck), show.luck(luck))
    else:
        _repeat(arguments, past, config, overrides, changes)


def _which(arguments: argparse.Namespace) -> tuple[str, list[str]]:
    """The run's id or folder, and the overrides: with --best, the first argument is one of them already."""
    given = [text for text in (arguments.run, *arguments.overrides) if text]
    if given and is_override(given[0]) == (arguments.best is None):
        raise ConfigError(f"{given[0]}: legal: RUN_ID [key=value ...], or --best STUDY [key=value ...]")
    if arguments.best:
        from finesweep.sweep import report, study

        return report.best(study.load(arguments.best, arguments.storage)).run_id, given
    if not given:
        raise ConfigError("nothing to reproduce; legal: RUN_ID, an exported folder, or --best STUDY")
    return given[0], given[1:]


def _check_ground(past: Past, config: RunConfig, overrides: list[str], to: TextIO) -> list[Change]:
    """Reads data and model, and says what differs from the record, before anything is trained."""
    from finesweep import preflight

    try:
        preflight.check(config)
    except (DataError, ModelError) as error:
        hint = "where it is now goes behind the run: data.path=PLACE, model.name_or_path=PLACE"
        raise type(error)(f"{error}; {hint}") from error
    from finesweep import device
    from finesweep.inputs import load_inputs
    from finesweep.provenance import collect
    from finesweep.provenance.differences import differences
    from finesweep.reproduce import show

    device.prepare(config.trainer)
    now = collect(config, overrides, load_inputs(config))
    changes = [*store_differences(past), *differences(past.record, now)]
    print(show.ground(changes), file=to)
    return changes


def _repeat(
    arguments: argparse.Namespace, past: Past, config: RunConfig, overrides: list[str], changes: list[Change]
) -> None:
    from finesweep.reproduce import show
    from finesweep.reproduce.rerun import record_verdict, rerun
    from finesweep.reproduce.verdict import DIFFERENT, judge

    found = judge(past, rerun(past, config, overrides), changes, arguments.tolerance)
    record_verdict(found, config.tracking)
    _print(arguments, found.to_dict(), show.verdict(found))
    if found.verdict == DIFFERENT:
        raise NotReproduced(f"run {past.run_id} was not reproduced; likely cause: {found.cause}")


def export(arguments: argparse.Namespace) -> None:
    from finesweep.reproduce.export import export as write

    tracking = TrackingConfig(arguments.tracking_uri)
    missing = write(load_past(arguments.run, tracking), arguments.folder, tracking)
    print(arguments.folder)
    if missing:
        print(f"not kept by the run, and so not in it: {', '.join(missing)}", file=sys.stderr)


def diff(arguments: argparse.Namespace) -> None:
    from finesweep.reproduce.beside import beside, lines

    tracking = TrackingConfig(arguments.tracking_uri)
    one, other = (load_past(run, tracking) for run in (arguments.one, arguments.other))
    found = beside(one, other)
    _print(arguments, asdict(found), lines(found, (one.name, other.name)))


def _print(arguments: argparse.Namespace, document: dict[str, object], text: str) -> None:
    if arguments.json:
        print_json(document)
    elif text:
        print(text)
