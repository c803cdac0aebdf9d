"""The README: it is short, and its commands run in their order, as a reader would type them."""

import csv
import re
from pathlib import Path

import pytest
from pages import ROOT, Block, Command, blocks, commands, write
from processes import FINESWEEP, SMALL, start

README = "README.md"
# What makes a command cheap, behind its own arguments: few rows, one epoch, two trials.
CHEAP = [*SMALL, "trainer.per_device_train_batch_size=32"]
CHEAP_SWEEP = [*CHEAP, "hydra.sweeper.study.n_trials=2", "hydra/launcher=basic"]
# Not run here: what sets up and serves. `make` and `finesweep ui` have tests of their own.
LEFT_OUT = ("make", "pip", "source", "finesweep ui")


class Reader:
    """A person who goes through a page: a working folder, into which files are written and commands typed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.typed: list[str] = []

    def follow(self, block: Block) -> None:
        if block.language == "python":
            (self.folder / "snippet.py").write_text(block.text)
            self._run(Command(block.page, ("python", "snippet.py")))
        elif block.file:
            write(block, self.folder)
        else:
            for command in commands(block):
                self._type(command)

    def _type(self, command: Command) -> None:
        text = " ".join(command.arguments)
        if command.arguments[0] == "cd":
            self.folder /= command.arguments[1]
        elif not text.startswith(LEFT_OUT):
            self._run(command)
            self.typed.append(text)

    def _run(self, command: Command) -> None:
        first, *arguments = command.arguments
        program = FINESWEEP
        if first == "python":
            script = self.folder / arguments.pop(0)
            program = (str(script if script.exists() else ROOT / script.name),)
        if "train" in Path(program[0]).stem or arguments[:1] == ["train"]:
            arguments += CHEAP_SWEEP if "-m" in arguments else CHEAP
        process = start(*arguments, cwd=self.folder, program=program)
        stdout, stderr = process.communicate(timeout=200)
        assert process.returncode == 0, f"{command}\n{stdout}\n{stderr}"
        if command.output:
            (self.folder / command.output).write_text(stdout)


@pytest.mark.long
def test_the_commands_of_the_readme_run_in_their_order(own_folder: Path) -> None:
    rows = [(f"a {word} film {index}", word) for index in range(30) for word in ("good", "bad", "long")]
    for name, columns in (("reviews.csv", ("text", "stars")), ("new.csv", ("text",))):
        with open(own_folder / name, "w", newline="") as file:
            csv.writer(file).writerows([columns, *(row[: len(columns)] for row in rows)])
    reader = Reader(own_folder)
    for block in blocks(README, "bash", "yaml", "python"):
        reader.follow(block)
    assert len(reader.typed) > 10
    assert len((own_folder / "predictions.csv").read_text().splitlines()) == 1 + len(rows)


def test_the_readme_has_at_most_a_thousand_words() -> None:
    assert len((ROOT / README).read_text().split()) <= 1000


def test_pictures_are_small_and_fetch_nothing() -> None:
    pictures = [path for path in (ROOT / "docs/pictures").iterdir() if path.suffix in (".svg", ".png")]
    assert pictures and all(picture.stat().st_size < 200_000 for picture in pictures)
    for drawing in (ROOT / "docs/pictures").glob("*.svg"):
        assert not re.search(r"(href|src|url\()\W*http", drawing.read_text())
