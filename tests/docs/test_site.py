"""`make docs`: the pages are built without a warning, and a page of the result fetches nothing."""

import re
import subprocess
import sys
from pathlib import Path

from pages import ROOT


def test_the_pages_are_built_without_a_warning_and_fetch_nothing(tmp_path: Path) -> None:
    options = ["--fail-on-warning", "--quiet", "-c", "docs", "-b", "html"]
    folders = ["-d", str(tmp_path / "trees"), ".", str(tmp_path / "html")]
    build = [sys.executable, "-m", "sphinx", *options, *folders]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    built = list((tmp_path / "html").rglob("*.html"))
    assert (tmp_path / "html/index.html") in built and (tmp_path / "html/docs/sweeps.html") in built
    fetched = re.compile(r"<(?:script|img|link|iframe)\b[^>]*\b(?:src|href)=\"(?:https?:)?//[^\"]*")
    assert [found for page in built for found in fetched.findall(page.read_text())] == []
    styles = [path.read_text() for path in (tmp_path / "html/_static").rglob("*.css")]
    assert not any(re.search(r"url\([\"']?(https?:)?//", style) for style in styles)
