"""Draws the README's pictures from the real program: `make pictures`, a minute.

A quickstart sweep runs in a folder of its own, on a terminal of its own. docs/pictures/terminal.svg is that
terminal near the end of the sweep; docs/pictures/report.png is the page of `finesweep report`, in Chromium.
"""

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs/pictures"
STUDY, N_TRIALS = "quickstart", 12
# The display counts finished trials; the picture is the last screen with the first of these two counts.
SHOWN_AT, TOO_LATE = (f"{N_TRIALS - left}/{N_TRIALS}" for left in (2, 1))
COLUMNS, ROWS = 100, 44
PAGE = (1280, 1175)  # width and height of the report's picture, in pixels


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "train.py"), "-m", f"hydra.sweeper.study.n_trials={N_TRIALS}"]
        screens = [s for s in screens_of(command, Path(folder)) if SHOWN_AT in s and TOO_LATE not in s]
        (PICTURES / "terminal.svg").write_text(svg(screens[-1], title="python train.py -m"))
        draw_report(Path(folder))


def screens_of(command: list[str], folder: Path) -> Iterator[str]:
    """Runs a command on a terminal; yields what the screen shows after each of its writes, with ANSI colours.

    Raises: subprocess.CalledProcessError if the command fails.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    colours = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
    environ = os.environ | colours | {"PYTHONPATH": str(ROOT / "src")}
    process = subprocess.Popen(command, cwd=folder, env=environ, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    screen = Screen()
    try:
        while written := os.read(ours, 1 << 16):
            screen.write(written.decode(errors="replace"))
            yield "\n".join(screen.lines[-ROWS:])
    except OSError:  # how a terminal ends on Linux
        pass
    if process.wait():
        raise subprocess.CalledProcessError(process.returncode, command)


class Screen:
    """The lines of a terminal that rich redraws: it goes up, erases whole lines, and writes them anew."""

    MOVES = re.compile(r"\x1b\[(\d*)A|\x1b\[2K|\x1b\[\?\d+[hl]|\r?\n|\r")

    def __init__(self) -> None:
        self.lines, self.row = [""], 0

    def write(self, text: str) -> None:
        start = 0
        for move in self.MOVES.finditer(text):
            self.lines[self.row] += text[start : move.start()]
            self._move(move)
            start = move.end()
        self.lines[self.row] += text[start:]

    def _move(self, move: re.Match[str]) -> None:
        if move[0].endswith("A"):
            self.row = max(0, self.row - int(move[1] or 1))
        elif move[0].endswith("K"):
            self.lines[self.row] = ""
        elif move[0].endswith("\n"):
            self.row += 1
            self.lines += [""] * (self.row + 1 - len(self.lines))


def svg(screen: str, title: str) -> str:
    """Draws a screen as SVG with the viewer's own fonts: rich's would be fetched from a network."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(screen.strip("\n")))
    without_fonts = re.sub(r"@font-face {{.*?}}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    return console.export_svg(title=title, code_format=without_fonts)


def draw_report(folder: Path) -> None:
    """Writes `finesweep report` of the study in a folder, and photographs its page."""
    finesweep = [sys.executable, "-m", "finesweep.cli.main"]
    subprocess.run([*finesweep, "report", STUDY, "--out", "report"], cwd=folder, check=True)
    photograph(Path(folder, "report", f"{STUDY}.html"), PICTURES / "report.png")


def photograph(page: Path, picture: Path) -> None:
    """Writes what Chromium shows of a page, in few colours, which makes the file small."""
    subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
         f"--window-size={PAGE[0]},{PAGE[1]}", f"--screenshot={picture}", page.as_uri()],
        check=True, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    Image.open(picture).quantize(colors=128).save(picture, optimize=True)


if __name__ == "__main__":
    main()
