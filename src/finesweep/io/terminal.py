"""Prints text that may come from somebody else's record, so that it controls neither terminal nor shell."""

import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

# Control characters but for tab and line feed, line separators, and marks that change the direction of text.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")

WITHOUT_SCRIPT = "finesweep train"
_STARTED_AS = "FINESWEEP_STARTED_AS"  # a variable, which workers inherit


def started_as(command: str) -> None:
    """Notes how a person started this process, such as `python train.py`, for it and all that it starts."""
    os.environ[_STARTED_AS] = command


def trainer() -> str:
    """Returns the command that trains here: how this process was started, or else what the folder offers."""
    here = "python train.py" if Path("train.py").is_file() else WITHOUT_SCRIPT
    return os.environ.get(_STARTED_AS, here)


def printable(text: str) -> str:
    r"""Replaces every character that controls a terminal by its escape, such as ``\x1b``."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """Returns the text as one line that also ends no code in Markdown."""
    return printable(text).replace("\n", " ").replace("`", "'")


def argument(text: str) -> str:
    """Writes an argument for a shell, into which a person copies it; behind `--` if it begins with a dash."""
    return f"-- {shlex.quote(text)}" if text.startswith("-") else shlex.quote(text)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Aligns the cells of all rows in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def show(text: object, file: TextIO | None = None) -> None:
    """Prints a text to stdout, or to `file`, without characters that control a terminal."""
    print(printable(str(text)), file=file or sys.stdout, flush=True)
