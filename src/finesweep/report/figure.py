"""Draws a chart with matplotlib as inline SVG, whose colours are the page's CSS variables.

Text stays text, ids are the same each time, and points are links to their trials' rows in the table.
"""

import logging
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from finesweep.report.markup import text

INK, MUTED, GRID = "#010101", "#020202", "#030303"
BLUE, RED, ORANGE, GREEN, PURPLE, GREY = "#0072b2", "#d55e00", "#e69f00", "#009e73", "#aa4a80", "#8b949e"
PAPER = "#fefefe"
VARIABLES = {
    INK: "--ink", MUTED: "--muted", GRID: "--grid", BLUE: "--blue", RED: "--red", ORANGE: "--orange",
    GREEN: "--green", PURPLE: "--purple", GREY: "--grey", PAPER: "--card",
}  # fmt: skip
WIDTH, HEIGHT = (
    5.0,
    3.0,
)  # inches: 360 by 216 pixels, the width of a telephone, so that its text stays readable
STYLE: dict[Any, Any] = {  # matplotlib types its keys as literals
    "svg.fonttype": "none", "text.parse_math": False, "axes.formatter.useoffset": False,
    "font.size": 10, "axes.labelsize": 10, "xtick.labelsize": 9, "ytick.labelsize": 9, "legend.fontsize": 9,
    "text.color": INK, "axes.labelcolor": MUTED, "axes.edgecolor": MUTED, "xtick.color": MUTED,
    "ytick.color": MUTED, "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
    "axes.grid": True, "grid.color": GRID, "grid.linewidth": 0.7, "legend.frameon": False,
    "lines.linewidth": 1.8, "axes.facecolor": "none", "figure.facecolor": "none", "path.simplify": False,
}  # fmt: skip

Drawing = Callable[[Axes], object]
log = logging.getLogger(__name__)
logging.getLogger("matplotlib").setLevel(logging.WARNING)  # not that 8, 16, 32 look like numbers


def chart(
    name: str, title: str, caption: str, drawing: Drawing,
    *, tips: Mapping[str, str] | None = None, height: float = HEIGHT,
) -> str:  # fmt: skip
    """Returns a figure element. name: unique on the page. tips: what a pointer on a point shows, by its url.

    `drawing` gets the axes, and may give their points urls: the ids of rows on the page. If it fails, the
    figure and the log say so.
    """
    try:
        svg = _svg(name, drawing, height)
    except Exception as error:
        log.warning("chart %s left out: %s: %s", title, type(error).__name__, error)
        svg, caption = "", f"This chart could not be drawn: {type(error).__name__}: {error}"
    svg = re.sub(r'<a href="([\w-]+)"[^>]*>', lambda link: _link(link[1], tips or {}), _embedded(svg))
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{text(f"{title}. {caption}")}" ', 1)
    return f"<figure><h4>{text(title)}</h4>{svg}<figcaption>{text(caption)}</figcaption></figure>\n"


def _embedded(svg: str) -> str:
    """Turns a file of matplotlib's into a part of the page."""
    for pattern, replacement in _CLEANING:
        svg = pattern.sub(replacement, svg)
    svg = _ids(svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    return svg


def legend(axes: Axes) -> None:
    """Puts the legend above the axes, with one entry for each label."""
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    axes.legend(
        list(handles.values()), list(map(str, handles)), loc="lower left", bbox_to_anchor=(0, 1), ncols=3,
        borderaxespad=0.2, handlelength=1.2,
    )  # fmt: skip


def mark_decades(axis: Axis, found: Sequence[float]) -> None:
    """Labels a logarithmic axis as 1e-4, 2e-4, 5e-4; over many decades only each decade."""
    many = max(found) > 1000 * min(found)
    axis.set_major_locator(LogLocator(subs=(1.0,) if many else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _plain(value)))
    axis.set_minor_formatter(NullFormatter())


def _plain(value: float) -> str:
    return f"{value:g}" if 0.01 <= value < 10_000 else f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")


def _svg(name: str, drawing: Drawing, height: float) -> str:
    page = StringIO()
    with mpl.rc_context(STYLE | {"svg.hashsalt": name}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a glyph that matplotlib's font lacks: the browser has it
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        drawing(figure.add_subplot())
        figure.savefig(page, format="svg", metadata={"Date": None, "Creator": None})
    return page.getvalue()


# What is no use inside of a page: prolog, comments, metadata, a style for all of the page, a fixed size.
_CLEANING = tuple(
    (re.compile(pattern, re.DOTALL), replacement)
    for pattern, replacement in (
        (r"^.*?(?=<svg )", ""),
        (r"<!--.*?-->|<metadata>.*?</metadata>|<style[^>]*>.*?</style>", ""),
        (r' (?:width|height)="[\d.]+pt"| xmlns(?::xlink)?="[^"]*"| version="[^"]*"', ""),
        ("xlink:href", "href"),
        (r"\n\s*", "\n"),
    )
)


def _ids(svg: str) -> str:
    """Removes ids to which nothing refers: matplotlib calls the axes of each figure alike."""
    used = set(re.findall(r'(?:url\(|href=")#([\w-]+)', svg))
    return re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", svg)


def _link(row: str, tips: Mapping[str, str]) -> str:
    return f'<a href="#{row}"><title>{text(tips.get(row, row))}</title>'
