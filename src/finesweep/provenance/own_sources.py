"""Finds the source files of a person's own code: a module, and what it imports from the same folder."""

import ast
from collections.abc import Iterator
from pathlib import Path


def own_sources(file: Path, root: Path) -> dict[str, bytes]:
    """Returns the contents of a module's file and of all files that it imports, directly or not.

    root: the folder that the module is imported from, in which alone files are looked for. Keys are paths in
    it. Imports are read from the text; nothing is imported.
    """
    contents: dict[str, bytes] = {}
    todo = [file]
    while todo:
        path = todo.pop()
        key = path.relative_to(root).as_posix()
        if key not in contents:
            contents[key] = path.read_bytes()
            todo += [found for name in _imported(contents[key], key) for found in _files(root, name)]
    return contents


def _imported(source: bytes, key: str) -> Iterator[str]:
    """Yields the dotted names that a file imports, of `from a import b` both `a` and `a.b`."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # of a file that cannot have been imported
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            folders = key.split("/")[: -node.level] if node.level else []
            module = ".".join([*folders, *([node.module] if node.module else [])])
            if module:
                yield module
            yield from (f"{module}.{alias.name}".lstrip(".") for alias in node.names)


def _files(root: Path, name: str) -> Iterator[Path]:
    """Yields the files of a module and of the packages around it, as far as they are in `root`."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        place = root.joinpath(*parts[:end])
        yield from (path for path in (place / "__init__.py", place.with_suffix(".py")) if path.is_file())
