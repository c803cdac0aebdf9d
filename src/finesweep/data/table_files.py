"""Finds the table files of a path, and tells which split each of them is."""

import os
import re
from collections import defaultdict
from pathlib import Path

from finesweep.data.arrow_rows import SAVED_SPLIT, SAVED_SPLITS
from finesweep.data.readers import EXTENSIONS, kind
from finesweep.data.text import GZIP
from finesweep.errors import DataError

LEGAL = f"{', '.join(EXTENSIONS)}; text files also with {GZIP}"
_RENAMED = {"dev": "validation"}  # file name -> split name
_STANDARD = dict.fromkeys(("dev", "val", "valid", "eval"), "validation")  # other names of a split
# One of several files of a split. Source: the names that `push_to_hub` of `datasets` gives, and gave
_SHARD = re.compile(r"(?P<split>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(-[0-9a-f]{16})?")
_ADVICE = {
    ".txt": "; rename it to what it holds: tsv (Excel's Unicode text), csv or conll",
    **dict.fromkeys((".xlsx", ".xls", ".ods"), "; save the sheet as CSV UTF-8"),
}


class TableFiles:
    """The files of each split. `names` are the splits to show; a single file of several can be named, too."""

    def __init__(self, path: Path) -> None:
        """Raises: DataError if there is no table, or if two files have the same split's name."""
        single = _single(path)
        self._path = path
        self._files = {"train": [single]} if single else _by_split(_members(path))
        if not self._files:
            raise DataError(f"data.path: {path} holds no table; expected files such as train.csv{_why(path)}")
        shards = _shards(self._files)
        whole = {name: files for name, files in shards.items() if None not in files}
        self._broken = {name: files for name, files in shards.items() if None in files}
        parts = {file for files in whole.values() for file in files}
        shown = {*whole, *(name for name, files in self._files.items() if files[0] not in parts)}
        self.names = sorted(shown, key=lambda name: (name != "train", name))
        self._files = {name: [f for f in files if f] for name, files in whole.items()} | self._files

    def of(self, name: str) -> list[Path]:
        return self._files[name]

    def find(self, name: str) -> str | None:
        """Returns the split that a config means: of this very name, or of a similar one (`valid`, `Train`).

        Raises: DataError if two splits could be meant, or if some of its files are missing.
        """
        if name in self._files:
            return name
        if name in self._broken:
            missing = [f"{number:05d}" for number, file in enumerate(self._broken[name]) if file is None]
            raise DataError(
                f"data.path: {self._path}: of the {len(self._broken[name])} files of split {name!r}, number "
                f"{', '.join(missing[:5])} is not there"
            )
        alike = [other for other in self.names if _standard(other) == _standard(name)]
        if len(alike) > 1:
            raise DataError(
                f"data.path: {self._path} has no split {name!r}, but {' and '.join(alike)}; name one"
            )
        return alike[0] if alike else None

    def has(self, suffix: str) -> bool:
        return any(kind(file) == suffix for files in self._files.values() for file in files)


def _standard(name: str) -> str:
    return _STANDARD.get(name.casefold(), name.casefold())


def _single(path: Path) -> Path | None:
    """Returns the path if all rows are there; None for a folder of files. Raises: DataError."""
    if path.is_file():
        if kind(path) not in EXTENSIONS:
            advice = _ADVICE.get(path.suffix.lower(), "")
            raise DataError(f"data.path: {path} is of an unknown file type; known: {LEGAL}{advice}")
        return path
    if not path.is_dir():
        problem = "is neither a file nor a folder" if os.path.lexists(path) else "does not exist"
        raise DataError(f"data.path: {path} {problem}; expected a file ({LEGAL}) or a folder of them")
    return path if (path / SAVED_SPLIT).is_file() else None


def _members(folder: Path) -> list[Path]:
    """Lists the tables in a folder: saved datasets if it is a `DatasetDict`, else files."""
    if (folder / SAVED_SPLITS).is_file():
        return sorted(member for member in folder.iterdir() if (member / SAVED_SPLIT).is_file())
    return sorted(
        member
        for member in folder.iterdir()
        if kind(member) in EXTENSIONS and member.is_file() and not member.name.startswith(".")
    )


def _why(folder: Path) -> str:
    """Says what is there instead of tables, and what is legal."""
    named = [member for member in sorted(folder.iterdir()) if kind(member) in EXTENSIONS]
    below = [member for member in sorted(folder.iterdir()) if member.is_dir() and _members(member)]
    if named:
        return f"; {named[0].name} is no regular file"
    return f"; set data.path={below[0]}, which has some" if below else f"; legal: {LEGAL}"


def _by_split(members: list[Path]) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    for file in members:
        stem = file.name if file.is_dir() else file.name[: file.name.lower().rindex(kind(file))]
        split = _RENAMED.get(stem, stem)
        if split in files:
            raise DataError(f"data.path: two files for the split {split!r}: {files[split][0]} and {file}")
        files[split] = [file]
    return files


def _shards(files: dict[str, list[Path]]) -> dict[str, list[Path | None]]:
    """Returns the files of each split that consists of several, in order, and None for those not there."""
    found: dict[str, dict[int, Path]] = defaultdict(dict)
    counts: dict[str, int] = {}
    for stem, (file,) in files.items():
        if match := _SHARD.fullmatch(stem):
            split = _RENAMED.get(match["split"], match["split"])
            found[split][int(match["number"])] = file
            counts[split] = max(counts.get(split, 0), int(match["count"]), int(match["number"]) + 1)
    return {
        split: [numbered.get(number) for number in range(counts[split])]
        for split, numbered in found.items()
        if split not in files
    }
