"""Nothing that a record holds can control the terminal."""

import io
import subprocess
from pathlib import Path

import pytest

from finesweep.io.terminal import argument, one_line, printable, show


def test_control_characters_are_shown_as_escapes() -> None:
    assert printable("a\x1b[2Jb\x07\x9b\r\u202ec") == r"a\x1b[2Jb\x07\x9b\r\u202ec"
    assert printable("\x1b]8;;http://x\x07\x1b]52;c;eA==\x9d\u061c\u2028\u2066") == (
        r"\x1b]8;;http://x\x07\x1b]52;c;eA==\x9d\u061c\u2028\u2066"
    )
    assert printable("Größe\tü\n表 🙂") == "Größe\tü\n表 🙂"


def test_what_is_printed_holds_no_escape() -> None:
    file = io.StringIO()
    show("\x1b]0;title\x07", file)
    assert file.getvalue() == r"\x1b]0;title\x07" + "\n"


@pytest.mark.parametrize(
    "name", ["a study", "it's", "$(touch pwned)", "`id`", "--json", "-x", "a;b", 'say "no"']
)
def test_an_argument_can_be_copied_into_a_shell(name: str, tmp_path: Path) -> None:
    command = f'printf "%s|" status {argument(name)}'
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split("|")[1:-1] == (["--", name] if name.startswith("-") else [name])
    assert not list(tmp_path.iterdir())


def test_one_line_ends_neither_a_line_nor_a_code_span() -> None:
    assert one_line("a`\n```bash\nid\x1b") == r"a' '''bash id\x1b"
