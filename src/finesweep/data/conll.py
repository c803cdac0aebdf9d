"""Reads CoNLL files: each line is a word with its annotations, and an empty line ends a sentence."""

import re
from pathlib import Path

from finesweep.data.source import at_line
from finesweep.data.table_file import Request, TableFile, table_text
from finesweep.data.text import split_lines
from finesweep.errors import DataError

Sentence = list[list[str]]  # the columns of each word

_DOCUMENT = "-DOCSTART-"  # the first column of a line that begins a document
# Spaces and tabs separate columns. Other white space, such as a no-break space, belongs to a word.
_COLUMN = re.compile(r"[^ \t]+")


def read_conll(path: Path, request: Request) -> TableFile:
    """Reads a file's columns, one row for each sentence.

    The first column is named `tokens`, the last one `tags`, those in between `column_2` and so on; the only
    column of a file is `tokens`. Lines that begin a document are left out.
    Raises: DataError for a line with another number of columns, or if there are no rows.
    """
    text, notes = table_text(path, request.config)
    sentences, lines = _read_sentences(path, text)
    if not sentences:
        raise DataError(f"{path}: no rows")
    width = len(sentences[0][0])
    names = ["tokens", *(f"column_{i}" for i in range(2, width)), *(["tags"] if width > 1 else [])]
    at = {name: names.index(name) for name in request.columns if name in names}
    columns = {name: [[word[i] for word in sentence] for sentence in sentences] for name, i in at.items()}
    return TableFile(path, names, columns, lines, notes)


def _read_sentences(path: Path, text: str) -> tuple[list[Sentence], list[int]]:
    sentences: list[Sentence] = []
    lines: list[int] = []
    has_ended = True
    for number, line in enumerate(split_lines(text), start=1):
        word = _COLUMN.findall(line)
        if not word or word[0] == _DOCUMENT:
            has_ended = True
            continue
        if has_ended:
            sentences.append([])
            lines.append(number)
            has_ended = False
        sentences[-1].append(word)
        if len(word) != (width := len(sentences[0][0])):
            raise DataError(f"{at_line(path, number)}: {len(word)} columns, expected {width}: {line[:80]!r}")
    return sentences, lines
