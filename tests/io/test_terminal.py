"""Nothing that a record holds can control the terminal."""

import io

from finesweep.io.terminal import printable, show


def test_control_characters_are_shown_as_escapes() -> None:
    assert printable("a\x1b[2Jb\x07\x9b\r\u202ec") == r"a\x1b[2Jb\x07\x9b\r\u202ec"
    assert printable("Größe\tü\n表 🙂") == "Größe\tü\n表 🙂"


def test_what_is_printed_holds_no_escape() -> None:
    file = io.StringIO()
    show("\x1b]0;title\x07", file)
    assert file.getvalue() == r"\x1b]0;title\x07" + "\n"
