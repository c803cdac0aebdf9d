"""The page in a real browser: on a telephone and on a desk, in light and dark."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from searching import add, confirm, study_of

from finesweep.report.facts import gather
from finesweep.report.page import page

CHROMIUM = shutil.which("chromium")
# No word to anybody: without these flags the browser itself calls out.
QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync")  # fmt: skip
WIDTHS = (400, 1280)  # of a telephone and of a desk
# A frame can have the width of a telephone, which a window of the browser cannot. The probe tells how wide
# each frame's content is, what reaches over its edge, which colours it has and how small its text is.
FRAME = '<iframe style="border:0;width:{width}px;height:900px" srcdoc="{page}"></iframe>'
PROBE = """<body>{frames}<script>
const seen = frame => {
  const page = frame.contentDocument, root = page.documentElement
  const texts = [...page.querySelectorAll("svg text")]
  const wide = [...page.querySelectorAll("body *")].filter(
    one => one.getBoundingClientRect().right > root.clientWidth && !one.closest(".scroll table"))
  const style = one => frame.contentWindow.getComputedStyle(one)
  return {
    widths: [root.clientWidth, root.scrollWidth], wide: wide.map(one => one.outerHTML.slice(0, 100)),
    paper: style(page.body).backgroundColor, ink: style(texts[0]).fill,
    text: Math.min(...texts.map(one => one.getBoundingClientRect().height)),
    charts: page.querySelectorAll("svg").length }
}
onload = () => document.body.textContent = JSON.stringify([...document.querySelectorAll("iframe")].map(seen))
</script>"""


@pytest.fixture(scope="module")
def markup() -> str:
    study = study_of(12, "a-study-with-a-rather-long-name-that-nobody-can-break-into-lines")
    add(study, TrialState.FAIL, error="ValueError: " + "x" * 300)
    confirm(study, {study.best_trial.number: [0.8, 0.9]})
    return page([gather(study, {0: [(50.0, 0.5), (100.0, 0.7)]})])


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_page_fits_has_readable_text_and_loads_nothing(markup: str, scheme: str, tmp_path: Path) -> None:
    frames, said = probed(markup, scheme, tmp_path)
    for width, seen in zip(WIDTHS, frames, strict=True):
        assert seen["widths"] == [width, width], seen["wide"]
        assert seen["wide"] == []
        assert seen["charts"] == markup.count("<svg ")
        assert seen["text"] >= 9  # pixels, of the smallest text in a chart
        is_dark = [max(map(int, re.findall(r"\d+", seen[what])[:3])) < 128 for what in ("paper", "ink")]
        assert is_dark == [scheme == "dark", scheme == "light"]
    assert said == []


def probed(markup: str, scheme: str, folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """What the page is like in each width, and what the browser says: errors, and what it blocked."""
    frames = "".join(FRAME.format(width=width, page=html.escape(markup)) for width in WIDTHS)
    file = folder / "probe.html"
    file.write_text(PROBE.replace("{frames}", frames))
    options = ["--window-size=1800,1000", "--hide-scrollbars", f"--user-data-dir={folder}/browser",
               f"--blink-settings=preferredColorScheme={int(scheme == 'light')}", "--enable-logging=stderr",
               "--virtual-time-budget=20000", "--dump-dom"]  # fmt: skip
    command = [str(CHROMIUM), *QUIET, *options, file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r"<body>(\[.*\])</body>", done.stdout, re.DOTALL)
    assert found, done.stdout[-1000:]
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(html.unescape(found[1])), said
