"""Reads the text of a file: decompresses it, and decodes it as UTF-8 or as configured."""

import codecs
import gzip
import zlib
from pathlib import Path

from finesweep.data.source import at_line
from finesweep.errors import DataError

UTF_8 = "utf-8-sig"  # UTF-8, with or without a byte order mark
# Byte order mark -> encoding. That of UTF-32 begins like that of UTF-16, so it comes first.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
GZIP = ".gz"


def read_text(path: Path, encoding: str = UTF_8) -> str:
    """Reads a file's text.

    Raises: DataError if the file cannot be opened, is empty, or is not of this encoding.
    """
    return decoded(path, read_bytes(path), encoding)


def read_bytes(path: Path) -> bytes:
    """Reads a file, and decompresses it if its name ends with `.gz`. Raises: DataError."""
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if path.suffix == GZIP else raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: not a whole gzip file: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def marked_encoding(raw: bytes) -> str | None:
    """Returns the encoding that a byte order mark tells; None without one, and for UTF-8."""
    return next((name for mark, name in _MARKS.items() if raw.startswith(mark)), None)


def decoded(path: Path, raw: bytes, encoding: str) -> str:
    """Decodes a file's content. Raises: DataError if it is empty, or not of this encoding."""
    try:
        text = raw.decode(encoding).removeprefix("\ufeff")
    except UnicodeError as error:
        start = error.start if isinstance(error, UnicodeDecodeError) else 0
        reason = error.reason if isinstance(error, UnicodeDecodeError) else str(error)
        name = "UTF-8" if encoding == UTF_8 else encoding
        line = raw.count(b"\n", 0, start) + 1
        raise DataError(f"{at_line(path, line)}: not {name} ({reason}); save it as UTF-8") from error
    if not text.strip():
        raise DataError(f"{path}: the file is empty")
    return text


def split_lines(text: str) -> list[str]:
    """Splits a text into lines. Only a line feed ends a line: U+2028 and similar characters are text."""
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
