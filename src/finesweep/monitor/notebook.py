"""The live table in a notebook: one output of the cell, which is drawn again and again."""

import io
from collections.abc import Callable

from rich.console import Console, RenderableType

WIDTH = 110  # columns
FORMAT = '<pre style="line-height: normal; overflow-x: auto; font-family: monospace">{code}</pre>'


def screen(drawn: Callable[[], RenderableType]) -> Callable[[], None]:
    """Makes an output of the running cell. Returns the function that draws it again."""
    from IPython.display import HTML, display

    output = display(HTML(""), display_id=True)
    return lambda: output.update(HTML(as_html(drawn())))


def as_html(drawn: RenderableType) -> str:
    """Renders what a terminal would show, with its colours."""
    console = Console(
        file=io.StringIO(), record=True, width=WIDTH, force_jupyter=False, force_terminal=True,
        highlight=False,
    )  # fmt: skip
    console.print(drawn)
    return console.export_html(inline_styles=True, code_format=FORMAT)
