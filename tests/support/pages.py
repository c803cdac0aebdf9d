"""README.md and docs/*.md as a reader of Markdown sees them: blocks of code, links and headings."""

import re
import shlex
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token
from processes import ROOT

TOP = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")


@dataclass(frozen=True)
class Block:
    """A fenced block of code: its language, and the file that it shows, as in "yaml sweeps/rte.yaml"."""

    page: str
    language: str
    file: str
    text: str


@dataclass(frozen=True)
class Command:
    """One command of a `bash` block, without what the shell does with its output."""

    page: str
    arguments: tuple[str, ...]
    output: str | None = None  # the file behind `>`

    def __str__(self) -> str:
        return f"{Path(self.page).stem}: {' '.join(self.arguments)}"


def pages() -> list[str]:
    """Lists the pages, as paths relative to the repository."""
    return [*TOP, *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]


def blocks(page: str, *languages: str) -> list[Block]:
    """Returns the blocks of these languages, in their order."""
    fences = [token for token in _tokens(page) if token.type == "fence"]
    split = [(*fence.info.split(), "", "")[:2] for fence in fences]
    found = [Block(page, *info, fence.content) for info, fence in zip(split, fences, strict=True)]
    return [block for block in found if block.language in languages]


def commands(block: Block) -> list[Command]:
    """Reads the commands of a `bash` block, one a line; a `\\` at a line's end continues it."""
    found = []
    for line in block.text.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            words, output = (words[:-2], words[-1]) if words[-2:-1] == [">"] else (words, None)
            found.append(Command(block.page, tuple(words), output))
    return found


def all_commands() -> list[Command]:
    return [command for page in pages() for block in blocks(page, "bash") for command in commands(block)]


def make_project(folder: Path) -> Path:
    """Fills a folder with the configs and sweeps of the repository, of `finesweep init`, and of the pages."""
    template = ROOT / "src/finesweep/cli/template"
    for source in (ROOT, template):
        for name in ("conf", "sweeps"):
            if (source / name).exists():
                shutil.copytree(source / name, folder / name, dirs_exist_ok=True)
    for block in [block for page in pages() for block in blocks(page, "yaml") if block.file]:
        write(block, folder)
    return folder


def write(block: Block, folder: Path) -> None:
    (folder / block.file).parent.mkdir(parents=True, exist_ok=True)
    (folder / block.file).write_text(block.text)


def links(page: str) -> list[str]:
    """Lists the targets of a page's links and pictures."""
    children = [child for token in _tokens(page) for child in token.children or ()]
    targets = [child.attrGet("href") or child.attrGet("src") for child in children]
    return [str(target) for target in targets if target]


def anchors(page: str) -> set[str]:
    """Names a page's headings as GitHub does: `#what-ends-a-search`."""
    seen: Counter[str] = Counter()
    found = set()
    tokens = _tokens(page)
    for opening, text in zip(tokens, tokens[1:], strict=False):
        if opening.type == "heading_open":
            plain = "".join(child.content for child in text.children or ())
            slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
            found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
            seen[slug] += 1
    return found


def _tokens(page: str) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse((ROOT / page).read_text())
