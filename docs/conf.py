"""Sphinx reads this: `make docs`. Its source is the repository, so a link is the same here and on GitHub."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
NAVIGATION = {
    "Use it": [
        "project",
        "data",
        "tasks",
        "models",
        "lora",
        "sweeps",
        "search",
        "steering",
        "pausing",
        "predict",
        "python",
    ],  # fmt: skip
    "Beyond one machine": ["hosts", "slurm", "scale", "ranks"],
    "Results": ["certainty", "reproduce", "report", "mlflow", "places", "secrets"],
    "Reference": ["commands", "configuration", "provenance"],
    "Judge it": ["comparison", "coming-from", "measured", "speed", "faults"],
}

project = "finesweep"
author = copyright = "finesweep contributors"
extensions = ["myst_parser"]
myst_heading_anchors = 3  # `page.md#a-heading`, as on GitHub
root_doc = "README"
include_patterns = ["*.md", "docs/*.md"]
exclude_patterns = ["mlruns", "outputs"]
html_theme = "furo"
html_title = "finesweep"
html_show_sphinx = False
html_copy_source = False
pygments_style = "default"


def add_navigation(app: "Sphinx", docname: str, source: list[str]) -> None:
    """Appends the table of contents to the README, where GitHub would show its syntax."""
    if docname == root_doc:
        parts = NAVIGATION | {"Work on it": ["/ARCHITECTURE", "/CONTRIBUTING", "/CHANGELOG"]}
        source[0] += "".join(toctree(caption, pages) for caption, pages in parts.items())


def toctree(caption: str, pages: list[str]) -> str:
    lines = [page if page.startswith("/") else f"/docs/{page}" for page in pages]
    return "\n".join(["", "```{toctree}", ":hidden:", f":caption: {caption}", "", *lines, "```", ""])


def copy_to_index(app: "Sphinx", exception: Exception | None) -> None:
    """Makes the front page the index, too."""
    if exception is None and app.builder.name == "html":
        shutil.copy(app.outdir / f"{root_doc}.html", app.outdir / "index.html")


def setup(app: "Sphinx") -> None:
    app.connect("source-read", add_navigation)
    app.connect("build-finished", copy_to_index)
