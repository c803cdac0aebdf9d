"""`finesweep reproduce`: trains a run again and judges whether it came out the same."""

import sys
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TextIO

import click

from finesweep.cli import completing, options
from finesweep.cli.output import print_answer
from finesweep.config.run import RunConfig, TrackingConfig
from finesweep.errors import ConfigError, DataError, ModelError, NotReproduced
from finesweep.io.output import can_write
from finesweep.io.terminal import show
from finesweep.provenance.fields import Change
from finesweep.reproduce.rebuild import is_override, pin, rebuild
from finesweep.reproduce.recorded_run import RecordedRun, load_recorded_run, store_differences
from finesweep.reproduce.verdict import TOLERANCE


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError.at("--seeds", text, "a whole number, 1 or more")
    return int(text)


def _tolerance(text: str | float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise ConfigError.at("--tolerance", text, "a number, 0 or more")
    return value


@click.command()
@click.argument("arguments", nargs=-1, metavar="[RUN_ID] [KEY=VALUE ...]", shell_complete=completing.runs)
@click.option(
    "--best", metavar="STUDY", shell_complete=completing.studies,
    help="Reproduce the best trial of STUDY, instead of RUN_ID.",
)  # fmt: skip
@click.option(
    "--submission", metavar="STUDY", shell_complete=completing.studies,
    help="Make the submission of STUDY again that several checkpoints made together (study.ensemble).",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only show what differs from the record; train nothing.")
@click.option("--seeds", type=_count, metavar="N", help="Train N new seeds, to see how the result spreads.")
@click.option(
    "--tolerance", type=_tolerance, metavar="T", default=TOLERANCE, show_default=True,
    help="Largest difference of a metric: absolute below 1, relative above.",
)  # fmt: skip
@options.storage
@options.tracking
@options.as_json
def reproduce(
    arguments: tuple[str, ...], best: str | None, submission: str | None, dry_run: bool, seeds: int | None,
    tolerance: float, storage: str, tracking: TrackingConfig, as_json: bool,
) -> None:  # fmt: skip
    """Train a run again, and judge whether it came out the same.

    RUN_ID is the id of a run, or a folder that `finesweep export` wrote. An override, such as data.path=DIR,
    says what is to differ from the recorded config.
    """
    if dry_run and seeds:
        raise ConfigError("--dry-run: not with --seeds; give one of the two")
    if submission:
        if best or dry_run or seeds:
            raise ConfigError("--submission: not with --best, --dry-run or --seeds; give one of them")
        return _remake(submission, list(arguments), tolerance, storage, tracking, as_json)
    where, overrides = _resolve(arguments, best, storage)
    recorded = load_recorded_run(where, tracking)
    recorded.check_finished()
    config = rebuild(recorded, overrides, tracking)
    if dry_run and not can_write(Path(config.cache_dir)):  # a look needs no right to write
        config.cache_dir = click.get_current_context().with_resource(TemporaryDirectory(prefix="finesweep-"))
    pin(recorded.record.machine, config.trainer.threads)
    output = sys.stdout if dry_run and not as_json else sys.stderr
    changes = _compare_conditions(recorded, config, overrides, output)
    if dry_run:
        document = {"run_id": recorded.run_id, "changes": [asdict(change) for change in changes]}
        print_answer(as_json, document, "")
    elif seeds:
        _train_seeds(recorded, config, overrides, changes, seeds, as_json)
    else:
        _rerun(recorded, config, overrides, changes, tolerance, as_json)


def _remake(
    study: str, overrides: list[str], tolerance: float, storage: str, tracking: TrackingConfig, as_json: bool
) -> None:
    """Makes a study's submission by several checkpoints again. Raises: NotReproduced if it is another one."""
    from finesweep.config.study import Ensemble
    from finesweep.io.redaction import redact_urls
    from finesweep.io.terminal import argument
    from finesweep.monitor.training import showing_training
    from finesweep.monitor.wording import store_options
    from finesweep.reproduce.render import remade
    from finesweep.reproduce.together import remake
    from finesweep.reproduce.verdict import EXACT
    from finesweep.study.reading import read_study
    from finesweep.study.records import StudyRecord

    conclusion = StudyRecord(read_study(study, storage)).conclusion
    made = conclusion.ensemble if conclusion else None
    if made is None or not made.is_submitted or not made.files:
        this = f"--best {argument(study)}{store_options(storage=redact_urls(storage))}"
        legal = f"a study whose kept checkpoints predicted together; for this one: {this}"
        raise ConfigError.at("--submission", study, legal)
    with showing_training(evaluations=False):
        again = remake(Ensemble(made.kind), made.run_ids, made.files, tracking, overrides, tolerance)
    print_answer(as_json, again.to_dict(), remade(again))
    if again.verdict != EXACT:
        raise NotReproduced(f"the submission of study {study} was not reproduced to the last byte")


def _resolve(arguments: tuple[str, ...], best: str | None, storage: str) -> tuple[str, list[str]]:
    """Returns the run, an id or a folder, and the overrides.

    Raises: ConfigError if both a run and `best` are given, or none; StudyError.
    """
    if arguments and is_override(arguments[0]) == (best is None):
        raise ConfigError(f"{arguments[0]}: legal: RUN_ID [KEY=VALUE ...], or --best STUDY [KEY=VALUE ...]")
    if best:
        from finesweep.monitor import report
        from finesweep.study.reading import read_study

        return report.best(read_study(best, storage)).run_id, list(arguments)
    if not arguments:
        raise ConfigError("nothing to reproduce; legal: RUN_ID, an exported folder, or --best STUDY")
    return arguments[0], list(arguments[1:])


def _compare_conditions(
    recorded: RecordedRun, config: RunConfig, overrides: list[str], output: TextIO
) -> list[Change]:
    """Reads data and model, and prints what differs from the record. Trains nothing."""
    _check_inputs(config)
    from finesweep.machine import device
    from finesweep.provenance import collect
    from finesweep.provenance.differences import differences
    from finesweep.reproduce import render
    from finesweep.training.inputs import load_inputs

    device.prepare(config.trainer)
    now = collect(config, overrides, load_inputs(config).content)
    changes = [*store_differences(recorded), *differences(recorded.record, now)]
    show(render.conditions(changes), output)
    return changes


def _check_inputs(config: RunConfig) -> None:
    """Raises: DataError, ModelError with a hint for files that lie elsewhere than they did."""
    from finesweep.training import preflight

    try:
        preflight.check(config)
    except (DataError, ModelError) as error:
        hint = "if it lies elsewhere on this machine, add data.path=PLACE or model.name_or_path=PLACE"
        raise type(error)(f"{error}; {hint}") from error


def _train_seeds(
    recorded: RecordedRun, config: RunConfig, overrides: list[str], changes: list[Change], count: int,
    as_json: bool,
) -> None:  # fmt: skip
    from finesweep.monitor.training import showing_training
    from finesweep.reproduce import render
    from finesweep.reproduce.seeds import train_seeds

    with showing_training(evaluations=False):  # the reproduction compares each
        spread = train_seeds(recorded, config, overrides, count, changes)
    print_answer(as_json, asdict(spread), render.seed_spread(spread))


def _rerun(
    recorded: RecordedRun, config: RunConfig, overrides: list[str], changes: list[Change], tolerance: float,
    as_json: bool,
) -> None:  # fmt: skip
    """Trains the run again and prints the verdict. Raises: NotReproduced if it is DIFFERENT."""
    from finesweep.monitor.training import showing_training
    from finesweep.reproduce import render
    from finesweep.reproduce.rerun import record_verdict, rerun
    from finesweep.reproduce.verdict import DIFFERENT, judge

    with showing_training(evaluations=False):  # the reproduction compares each
        again = rerun(recorded, config, overrides)
    verdict = judge(recorded, again, changes, tolerance)
    record_verdict(verdict, config.tracking)
    print_answer(as_json, verdict.to_dict(), render.verdict(verdict))
    if verdict.verdict == DIFFERENT:
        raise NotReproduced(f"run {recorded.run_id} was not reproduced; likely cause: {verdict.cause}")
