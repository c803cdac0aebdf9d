"""Writes HTML. All text from outside passes `text`, which takes out secrets and escapes it."""

import html
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from finesweep.io.redaction import redact
from finesweep.io.terminal import printable

_PLAIN = re.compile(r"[\w .,:%+-]{0,7}")  # shorter than any secret, and nothing that controls


class Cell(NamedTuple):
    """A cell of a table: markup, and whether it is a number, which stands to the right."""

    markup: str
    is_number: bool = False


def text(value: object) -> str:
    """Escapes a text for HTML, after `clean`."""
    return html.escape(clean(value))


def clean(value: object) -> str:
    """Takes secrets, control characters and marks that change the direction out of a text."""
    words = str(value)
    return words if _PLAIN.fullmatch(words) else printable(redact(words))


def number(value: float | None, digits: int = 4) -> str:
    """Writes a value with so many decimals; large and tiny ones with so many significant digits."""
    if value is None:
        return "–"
    fixed = 1e-3 <= abs(value) < 100 or value == 0
    return f"{value:.{digits}f}" if fixed else f"{value:.{digits}g}"


def size(n_bytes: float) -> str:
    """Writes a number of bytes in the decimal units of disks."""
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} TB"


def cell(value: object) -> Cell:
    return Cell(text(value))


def figure_cell(value: object) -> Cell:
    return Cell(text(value), is_number=True)


def table(heads: Sequence[str], rows: Sequence[Sequence[Cell]], label: str, ids: Sequence[str] = ()) -> str:
    """Writes a table that scrolls in itself, so that the page never does. ids: of its rows."""
    right = [one.is_number for one in rows[0]] if rows else [False] * len(heads)
    head = "".join(
        f'<th scope="col"{" class=n" if is_number else ""}>{text(name)}</th>'
        for name, is_number in zip(heads, right, strict=True)
    )
    body = "".join(
        f"<tr{f' id={ids[index]}' if ids else ''}>{''.join(map(_td, row))}</tr>\n"
        for index, row in enumerate(rows)
    )
    return (
        f'<div class="scroll" role="region" aria-label="{text(label)}" tabindex="0">'
        f"<table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>"
    )


def _td(one: Cell) -> str:
    return f'<td class="n">{one.markup}</td>' if one.is_number else f"<td>{one.markup}</td>"


def commands(lines: Iterable[tuple[str, str]]) -> str:
    """Writes commands to copy, each with its purpose above it."""
    return "".join(f"<p>{text(why)}</p><pre>{text(line)}</pre>" for why, line in lines)


def section(title: str, *parts: str) -> str:
    """Writes a section; an empty text if it has no content."""
    content = "\n".join(filter(None, parts))
    return f"<section><h3>{text(title)}</h3>\n{content}\n</section>\n" if content else ""


def grid(charts: Sequence[str]) -> str:
    return f'<div class="charts">{"".join(charts)}</div>' if charts else ""


def paragraph(words: str) -> str:
    return f"<p>{text(words)}</p>" if words else ""


def listed(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{text(line)}</li>' for line in lines)}</ul>" if lines else ""
