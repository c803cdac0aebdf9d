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
# How files begin that are no text, whatever their names say.
_NO_TEXT = {
    b"\x1f\x8b": f"gzip; a compressed table must be named so: {GZIP}",
    b"PK\x03\x04": "an archive, as Excel writes it; save the sheet as CSV UTF-8, or unpack the archive",
    b"\xd0\xcf\x11\xe0": "an Excel sheet; save it as CSV UTF-8",
}


def read_text(path: Path, encoding: str = UTF_8) -> str:
    """Reads a file's text.

    Raises: DataError if the file cannot be opened, is empty, or is not of this encoding.
    """
    return decoded(path, read_bytes(path), encoding)


def read_bytes(path: Path) -> bytes:
    """Reads a file, and decompresses it if its name ends with `.gz`. Raises: DataError."""
    try:
        raw = path.read_bytes()
        if path.suffix.lower() == GZIP:
            raw = gzip.decompress(raw)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: not a whole gzip file: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    for mark, what in _NO_TEXT.items():
        if raw.startswith(mark):
            raise DataError(f"{path}: it holds {what}")
    return raw


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
    """Splits a text into lines.

    Only a line feed ends a line; in a text without any, a carriage return, as old Macs wrote it. U+2028 and
    similar characters are text.
    """
    if "\n" not in text:
        text = text.replace("\r", "\n")
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
