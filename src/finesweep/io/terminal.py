"""Prints text that may come from somebody else's record, so that it controls neither terminal nor shell."""

import re
import shlex
import sys
from typing import TextIO

# Control characters but for tab and line feed, line separators, and marks that change the direction of text.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    r"""Replaces every character that controls a terminal by its escape, such as ``\x1b``."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """Returns the text as one line that also ends no code in Markdown."""
    return printable(text).replace("\n", " ").replace("`", "'")


def argument(text: str) -> str:
    """Writes an argument for a shell, into which a person copies it; behind `--` if it begins with a dash."""
    return f"-- {shlex.quote(text)}" if text.startswith("-") else shlex.quote(text)


def show(text: object, file: TextIO | None = None) -> None:
    """Prints a text to stdout, or to `file`, without characters that control a terminal."""
    print(printable(str(text)), file=file or sys.stdout, flush=True)
