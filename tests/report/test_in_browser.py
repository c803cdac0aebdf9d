"""The page in a real browser: on a telephone and on a desk, in light and dark."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from optuna.trial import TrialState
from searching import add, confirm, study_of

from finesweep.report.facts import gather
from finesweep.report.page import page

CHROMIUM = shutil.which("chromium")
# No word to anybody: without these flags the browser itself calls out.
QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync")  # fmt: skip
# A frame has the width of a telephone, which a window of the browser cannot have. It tells how wide its
# content is, what reaches over its edge, and which colours it has.
PROBE = """<body><iframe style="border:0;width:{width}px;height:900px" srcdoc="{page}"></iframe><script>
document.querySelector("iframe").onload = event => {{
  const page = event.target.contentDocument, root = page.documentElement, window_ = page.defaultView
  const wide = [...page.querySelectorAll("body *")].filter(
    one => one.getBoundingClientRect().right > {width} && !one.closest(".scroll table"))
  document.body.textContent = JSON.stringify({{
    client: root.clientWidth, scroll: root.scrollWidth, wide: wide.map(one => one.outerHTML.slice(0, 100)),
    paper: window_.getComputedStyle(page.body).backgroundColor,
    ink: window_.getComputedStyle(page.querySelector("svg text")).fill,
    text: Math.min(...[...page.querySelectorAll("svg text")].map(one => one.getBoundingClientRect().height)),
    charts: page.querySelectorAll("svg").length }})
}}</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_fits_has_readable_text_and_loads_nothing(width: int, scheme: str, tmp_path: Path) -> None:
    study = study_of(12, "a-study-with-a-rather-long-name-that-nobody-can-break-into-lines")
    add(study, TrialState.FAIL, error="ValueError: " + "x" * 300)
    confirm(study, {study.best_trial.number: [0.8, 0.9]})
    markup = page([gather(study, {0: [(50.0, 0.5), (100.0, 0.7)]})])
    seen, said = probed(markup, width, scheme, tmp_path)
    assert seen["charts"] == markup.count("<svg ")
    assert seen["client"] == seen["scroll"] == width, seen["wide"]
    assert seen["wide"] == []
    assert seen["text"] >= 9  # pixels, of the smallest text in a chart
    is_dark = [max(map(int, re.findall(r"\d+", seen[what])[:3])) < 128 for what in ("paper", "ink")]
    assert is_dark == [scheme == "dark", scheme == "light"]
    assert said == []


def probed(markup: str, width: int, scheme: str, folder: Path) -> tuple[dict[str, object], list[str]]:
    """What the page is like, and what the browser's console says: an error, or something to load."""
    file = folder / "probe.html"
    file.write_text(PROBE.format(width=width, page=html.escape(markup)))
    options = [f"--window-size={width + 120},1000", "--hide-scrollbars", f"--user-data-dir={folder}/browser",
               f"--blink-settings=preferredColorScheme={int(scheme == 'light')}", "--enable-logging=stderr",
               "--virtual-time-budget=20000", "--dump-dom"]  # fmt: skip
    done = subprocess.run([str(CHROMIUM), *QUIET, *options, file.as_uri()], capture_output=True, text=True,
                          timeout=120, check=True)  # fmt: skip
    found = re.search(r"<body>(\{.*\})</body>", done.stdout, re.DOTALL)
    assert found, done.stdout[-1000:]
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(html.unescape(found[1])), said
