"""The `finesweep` command: makes projects, trains, and reads the studies and runs that were made.

finesweep init DIR                    finesweep train [-m] ...
finesweep worker STUDY                finesweep studies                     finesweep runs STUDY
finesweep stop STUDY|STUDY#TRIAL      finesweep try STUDY KEY=VALUE ...
finesweep extend STUDY n_trials=N     finesweep status STUDY [--watch]
finesweep best STUDY [--yaml]         finesweep ui [STUDY]
finesweep predict CHECKPOINT|RUN_ID|STUDY FILE --out FILE [KEY=VALUE ...]
finesweep report STUDY ... [--out DIR]
finesweep submit STUDY ... --out DIR [--zip] [--fill-missing]
finesweep reproduce RUN_ID|FOLDER|--best STUDY [KEY=VALUE ...] [--dry-run | --seeds N] [--tolerance T]
finesweep export RUN_ID DIR           finesweep diff RUN_A RUN_B         finesweep register STUDY NAME
"""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from keyword import iskeyword

import click
from click.shell_completion import add_completion_class, shell_complete

import finesweep as finesweep_package
from finesweep.cli.completing import Bash
from finesweep.cli.entry import guarded
from finesweep.errors import FinesweepError, did_you_mean

VERBS = (
    "init", "train", "worker", "studies", "runs", "stop", "try", "extend", "status", "best", "report",
    "predict", "reproduce", "export", "diff", "submit", "register", "ui",
)  # fmt: skip
COMPLETION = "_FINESWEEP_COMPLETE"  # the variable by which click's shell scripts ask


class Verbs(click.Group):
    """A group that imports the file of a verb, `finesweep.cli.VERB`, when the verb is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        if cmd_name not in VERBS:
            raise click.UsageError(
                f"VERB: got {cmd_name!r}; {did_you_mean(cmd_name, VERBS)}legal: {', '.join(VERBS)}", ctx
            )
        name = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name  # `try` can be no name of Python's
        command: click.Command = getattr(import_module(f"finesweep.cli.{name}"), name)
        return command


def _print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        print(f"finesweep {finesweep_package.__version__}")
        context.exit()


finesweep = Verbs(
    "finesweep",
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_print_version,
            help="Print the version.",
        )
    ],
    help="Makes projects, trains, and reads the studies and runs that were made.",
    subcommand_metavar="VERB ...",
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def main() -> int:
    """Returns the exit code: 0 done, 1 the answer is no, 2 unusable input, 130 interrupted."""
    arguments = sys.argv[1:]  # read first: `guarded` takes the passwords out of sys.argv
    with _cycles_kept(arguments):
        return guarded(lambda: _invoke(arguments))


@contextmanager
def _cycles_kept(arguments: list[str]) -> Iterator[None]:
    """Frees no cyclic garbage in a verb that reads a study, answers and ends: looking for it took a fifth."""
    if arguments[:1] in (["status"], ["best"], ["studies"], ["runs"]) and "--watch" not in arguments:
        gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _invoke(arguments: list[str]) -> None:
    """Runs the verb, or answers a shell's TAB.

    Not by `click.Group.main`, which has its own exit codes for Ctrl-C and pipes.

    Raises: FinesweepError for a wrong command line, and what the verb raises.
    """
    if wanted := os.environ.get(COMPLETION):
        add_completion_class(Bash)
        if shell_complete(finesweep, {}, "finesweep", COMPLETION, wanted):
            raise FinesweepError(f"{COMPLETION}: got {wanted!r}; legal: bash_source, zsh_source, fish_source")
        return
    try:
        with finesweep.make_context("finesweep", arguments) as context:
            finesweep.invoke(context)
    except click.exceptions.Exit:
        pass  # --help or --version has been printed
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "finesweep"
        raise FinesweepError(f"{error.format_message().rstrip('.')}; see: {command} --help") from error


if __name__ == "__main__":
    sys.exit(main())
