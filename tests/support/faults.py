"""Causes faults, each in a fresh folder, and counts what came of them: python tests/support/faults.py

A fault is a function that takes an empty folder, causes one fault there, and returns a `Came`. To add one,
write such a function in the file of `causes/` that it belongs to, and decorate it with `@fault()`. Names on
the command line choose some. The last line of the output is the count; the exit code is 1 if anything was
lost, silent or wrong.
"""

import argparse
import importlib
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from causes import held
from causes.base import FAULTS, QUICK, Came, Skipped

THEMES = ("files", "deaths", "disks", "stores", "long")
for theme in THEMES:
    importlib.import_module(f"causes.{theme}")


def run(names: Sequence[str], folder: Path) -> dict[str, Came | str]:
    """Returns for each fault what came of it, or why it was skipped."""
    results: dict[str, Came | str] = {}
    folder.mkdir(parents=True, exist_ok=True)
    for name in [name for name in names if name in FAULTS]:
        (own := folder / name).mkdir(parents=True)
        began = time.monotonic()
        try:
            results[name] = FAULTS[name](own)
        except Skipped as reason:
            results[name] = f"skipped: {reason}"
        except Exception as error:
            results[name] = Came(0, False, False, f"{type(error).__name__}: {error}")
        seconds = time.monotonic() - began
        print(f"{name}, {seconds:.0f} s: {results[name]}", file=sys.stderr, flush=True)
    return results | held.run([name for name in names if name in held.HELD], folder)


def count(results: dict[str, Came | str]) -> str:
    came = [result for result in results.values() if isinstance(result, Came)]
    faults, right = (
        sum(result.faults for result in came),
        sum(result.faults for result in came if result.right),
    )
    lost, silent = sum(result.lost for result in came), sum(result.said is False for result in came)
    return f"{faults} faults, {lost} finished results lost, {silent} silent, {right}/{faults} right values"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="faults to cause; all of them without a name")
    parser.add_argument("--quick", action="store_true", help="only those that start no process")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="the folders stay here, in a new one")
    given = parser.parse_args()
    known = [*FAULTS, *held.HELD]
    if unknown := set(given.names) - set(known):
        parser.error(f"{', '.join(sorted(unknown))}: legal: {', '.join(known)}")
    names = given.names or [name for name in known if not given.quick or name in QUICK]
    with tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as scratch:
        results = run(names, given.keep.resolve() if given.keep else Path(scratch))
    print(json.dumps({name: str(result) for name, result in results.items()}, indent=1))
    print(count(results))
    came = [result for result in results.values() if isinstance(result, Came)]
    return int(any(result.lost or result.said is False or not result.right for result in came))


if __name__ == "__main__":
    sys.exit(main())
