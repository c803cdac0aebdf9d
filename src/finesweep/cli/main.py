"""The `finesweep` command: what studies and runs were, afterwards.

finesweep status STUDY [--watch]      finesweep best STUDY [--yaml]      finesweep ui
finesweep submit STUDY [STUDY ...] --out DIR [--zip] [--fill-missing]
finesweep reproduce RUN_ID|FOLDER|--best STUDY [key=value ...] [--dry-run | --seeds N] [--tolerance T]
finesweep export RUN_ID DIR           finesweep diff RUN_A RUN_B
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from finesweep.cli import runs, studies
from finesweep.cli.entry import guarded
from finesweep.cli.submit import submit
from finesweep.cli.ui import ui
from finesweep.config.run import TrackingConfig
from finesweep.config.study import StudyConfig
from finesweep.reproduce.rebuild import is_override
from finesweep.reproduce.verdict import TOLERANCE

STORAGE, TRACKING = StudyConfig().storage, TrackingConfig().uri
Verb = Callable[[argparse.Namespace], None]


def main() -> int:
    """Exit code 0 done, 1 the answer is no, 2 unusable input."""
    arguments = _parse(_parser())
    verb: Verb = arguments.verb
    return guarded(lambda: verb(arguments))


def _parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """argparse gives up on overrides that stand behind an option."""
    arguments, rest = parser.parse_known_args()
    if rest and (arguments.verb is not runs.reproduce or not all(is_override(text) for text in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        arguments.overrides += rest
    return arguments


class _Parser(argparse.ArgumentParser):
    """With the options that several verbs share."""

    def reads_studies(self) -> None:
        self.add_argument("--storage", default=STORAGE, help=f"where the studies are; default: {STORAGE}")

    def reads_runs(self) -> None:
        self.add_argument("--tracking-uri", default=TRACKING, help=f"where the runs are; default: {TRACKING}")

    def prints_json(self) -> None:
        self.add_argument(
            "--json", action="store_true", help="one JSON document on stdout, nothing else there"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="finesweep", description="Studies and runs of train.py, afterwards."
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB", parser_class=_Parser)

    def add(name: str, verb: Verb, about: str) -> _Parser:
        added = verbs.add_parser(name, help=about, description=about)
        added.set_defaults(verb=verb)
        return added

    _status(add("status", studies.status, "How many trials are done, running, failed; the best so far."))
    _best(add("best", studies.best, "The best trial: what, how good, and the command that re-runs it."))
    _reproduce(add("reproduce", runs.reproduce, "Trains a run again, and says whether it came out the same."))
    _export(add("export", runs.export, "A run as a folder, to be made again on another machine."))
    _diff(
        add(
            "diff", runs.diff, "Two runs side by side: config, data, model, code, machine, packages, results."
        )
    )
    _submit(add("submit", submit, "Validated submission files of the studies' best trials."))
    _ui(add("ui", ui, "MLflow's own UI on the store of the runs, on this machine only."))
    return parser


def _status(parser: _Parser) -> None:
    parser.add_argument("study")
    parser.add_argument("--watch", action="store_true", help="until nobody is at work on it any more")
    parser.reads_studies()
    parser.prints_json()


def _best(parser: _Parser) -> None:
    parser.add_argument("study")
    parser.add_argument(
        "--yaml", action="store_true", help="a config: python train.py --config-dir . --config-name best"
    )
    parser.reads_studies()
    parser.reads_runs()
    parser.prints_json()


def _reproduce(parser: _Parser) -> None:
    parser.add_argument(
        "run", nargs="?", metavar="RUN_ID", help="a run's id, or a folder of `finesweep export`"
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="what is to differ, as data.path=DIR"
    )
    parser.add_argument("--best", metavar="STUDY", help="the best trial of a study, instead of RUN_ID")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--dry-run", action="store_true", help="what differs from the record; no training")
    what.add_argument("--seeds", type=_count, metavar="N", help="N new seeds instead: is the result luck?")
    about = f"for every metric, absolute below 1, relative above; default: {TOLERANCE}"
    parser.add_argument("--tolerance", type=_tolerance, default=TOLERANCE, metavar="T", help=about)
    parser.reads_studies()
    parser.reads_runs()
    parser.prints_json()


def _export(parser: _Parser) -> None:
    parser.add_argument("run", metavar="RUN_ID")
    parser.add_argument("folder", type=Path, metavar="DIR", help="a new folder")
    parser.reads_runs()


def _diff(parser: _Parser) -> None:
    parser.add_argument("one", metavar="RUN_A", help="a run's id, or a folder of `finesweep export`")
    parser.add_argument("other", metavar="RUN_B")
    parser.reads_runs()
    parser.prints_json()


def _submit(parser: _Parser) -> None:
    parser.add_argument("studies", nargs="+", metavar="STUDY")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--zip", action="store_true", help="also DIR/submission.zip, as the server takes it")
    parser.add_argument(
        "--fill-missing", action="store_true", help="majority-class files for the tasks without a study"
    )
    parser.reads_studies()
    parser.prints_json()


def _ui(parser: _Parser) -> None:
    parser.reads_runs()
    parser.add_argument("--port", type=int, default=5000)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}; legal: a whole number, 1 or more")
    return int(text)


def _tolerance(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"got {text!r}; legal: a number, 0 or more")
    return value


if __name__ == "__main__":
    sys.exit(main())
