"""Reads CoNLL files: each line is a word with its annotations, and an empty line ends a sentence."""

import re
from pathlib import Path

from finesweep.data.source import at_line
from finesweep.data.tsv import read_lines
from finesweep.errors import DataError

Sentence = list[list[str]]  # the columns of each word

_DOCUMENT = "-DOCSTART-"  # the first column of a line that begins a document
# Spaces and tabs separate columns. Other white space, such as a no-break space, belongs to a word.
_COLUMN = re.compile(r"[^ \t]+")


def read_conll(path: Path) -> tuple[dict[str, list[list[str]]], list[int]]:
    """Reads a file's columns, one row for each sentence, and the line on which each sentence starts, from 1.

    The first column is named `tokens`, the last one `tags`, those in between `column_2` and so on; the only
    column of a file is `tokens`. Lines that begin a document are left out.
    Raises: DataError for a line with another number of columns, or if there are no rows.
    """
    sentences, lines = _read_sentences(path)
    if not sentences:
        raise DataError(f"{path}: no rows")
    width = len(sentences[0][0])
    names = ["tokens", *(f"column_{i}" for i in range(2, width)), *(["tags"] if width > 1 else [])]
    columns = {
        name: [[word[i] for word in sentence] for sentence in sentences] for i, name in enumerate(names)
    }
    return columns, lines


def _read_sentences(path: Path) -> tuple[list[Sentence], list[int]]:
    sentences: list[Sentence] = []
    lines: list[int] = []
    has_ended = True
    for number, line in enumerate(read_lines(path), start=1):
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
