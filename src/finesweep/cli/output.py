"""Prints the answer of a verb."""

import json
from typing import Any

from finesweep.io.terminal import show


def print_json(document: Any) -> None:
    print(json.dumps(document, indent=2))


def print_answer(as_json: bool, document: Any, text: str) -> None:
    """Prints `document` for a program, or `text` for a person; an empty text prints nothing."""
    if as_json:
        print_json(document)
    elif text:
        show(text)
