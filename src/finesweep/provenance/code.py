"""Describes the code of a run: finesweep's own files, the git commit, and the uncommitted changes."""

import hashlib
import importlib
import os
import re
import shutil
import subprocess
import sysconfig
import tempfile
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import finesweep
from finesweep.config.own import import_own
from finesweep.config.places import project
from finesweep.config.run import is_own_metric
from finesweep.io.redaction import SECRET_NAME, holds_secret
from finesweep.provenance.fields import Code
from finesweep.provenance.own_sources import own_sources

MAX_PATCH = 1_000_000  # characters
MAX_FILE = 100_000  # bytes of a file that git does not track
# Only files with these suffixes are in the patch; others may be data.
SOURCE = (".py", ".pyi")
SETTINGS = (".yaml", ".yml", ".toml", ".cfg", ".sh")
# Options that make `git diff` print the same under every git config.
PLAIN = ("--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/")
WRITTEN = {"mlruns", "outputs", "multirun", ".hydra"}  # folders that runs write


@dataclass(frozen=True)
class Checkout:
    """The state of a git checkout. `git apply` of `patch` on `commit` restores the code that ran."""

    commit: str | None = None
    patch: str = ""
    left_out: list[str] = field(default_factory=list)  # changed files that are not in the patch


def code(metric: str) -> Code:
    """Describes the code of a run whose `data.metric` is `metric`."""
    checkout = find_checkout()
    patch = checkout.patch.encode()
    return Code(
        commit=checkout.commit,
        left_out=checkout.left_out,
        patch_sha256=hashlib.sha256(patch).hexdigest() if patch else None,
        files=sources() | metric_source(metric),
        installed=_is_installed(),
    )


@lru_cache
def sources() -> dict[str, str]:
    """Hashes each source file of finesweep and its plugin; the keys are paths under `src/`.

    It reads them once per process, early: a file that is edited later is not the one that runs.
    """
    package = Path(finesweep.__file__).parent
    folders = (package, package.parent / "hydra_plugins" / "finesweep")
    files = sorted(path for folder in folders for path in folder.rglob("*.py"))
    return {
        path.relative_to(package.parent).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


@lru_cache
def metric_source(metric: str) -> dict[str, str]:
    """Hashes the source files of a user's own metric; the keys are import paths, `package/module.py`.

    They are the file of the module and, of a module in the project, those that it imports from there. Returns
    an empty dictionary for one of finesweep's metrics. It reads the files once per process.
    """
    if not is_own_metric(metric):
        return {}
    import_own("data.metric", metric)  # puts the working folder on the import path
    module = importlib.import_module(metric.partition(":")[0])
    if module.__file__ is None:
        return {}
    file = Path(module.__file__)
    depth = len(module.__name__.split(".")) + (file.stem == "__init__")
    root = file.parents[depth - 1]
    is_own = root.resolve() == project().resolve()  # and no installed package, which `packages` records
    contents = own_sources(file, root) if is_own else {file.relative_to(root).as_posix(): file.read_bytes()}
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


def _is_installed() -> bool:
    """Tells whether finesweep lies among installed packages: neither a checkout nor an editable install."""
    return Path(finesweep.__file__).is_relative_to(sysconfig.get_path("purelib"))


@lru_cache
def find_checkout() -> Checkout:
    """Reads the checkout of the working folder or, if it is in none, finesweep's own. Once per process.

    An installed finesweep has none: whatever repository its virtual environment lies in is another one.
    """
    for folder in (project(), *([] if _is_installed() else [Path(finesweep.__file__).parent])):
        if commit := _git(folder, "rev-parse", "HEAD").strip():
            top = Path(_git(folder, "rev-parse", "--show-toplevel").strip())
            return _read(top, commit)
    return Checkout()


def _read(top: Path, commit: str) -> Checkout:
    changed = _names(_git(top, "diff", "HEAD", "--name-only", "-z"))
    new = _names(_git(top, "ls-files", "--others", "--exclude-standard", "-z"))
    new = [name for name in new if not WRITTEN & set(Path(name).parts)]
    candidates = [name for name in changed if _may_be_recorded(name)]
    candidates += [name for name in new if _may_be_recorded(name) and _is_small(top / name)]
    recorded = {name: part for name, part in _patches(top, candidates).items() if _is_harmless(name, part)}
    if sum(map(len, recorded.values())) > MAX_PATCH:
        recorded = {}
    left_out = [name for name in (*changed, *new) if name not in recorded]
    return Checkout(commit, "".join(recorded.values()), left_out[:100])


def _may_be_recorded(name: str) -> bool:
    parts = Path(name).parts
    secret = any(part.startswith(".env") or SECRET_NAME.fullmatch(Path(part).stem) for part in parts)
    return not secret and name.endswith((*SOURCE, *SETTINGS))


def _is_small(path: Path) -> bool:
    """Whether `path` is a file of at most `MAX_FILE` bytes; links, such as an editor's locks, are not."""
    return path.is_file() and not path.is_symlink() and path.stat().st_size <= MAX_FILE


def _is_harmless(name: str, patch: str) -> bool:
    return len(patch) <= MAX_PATCH and not holds_secret(patch, settings=name.endswith(SETTINGS))


def _patches(top: Path, names: list[str]) -> dict[str, str]:
    """Returns the patch of each file, also of untracked ones, which are added to a copy of git's index."""
    if not names:
        return {}
    with tempfile.TemporaryDirectory() as scratch:
        index = Path(scratch) / "index"
        original = top / _git(top, "rev-parse", "--git-path", "index").strip()
        if original.is_file():
            shutil.copyfile(original, index)
        environment = {"GIT_INDEX_FILE": str(index)}
        _git(top, "add", "--intent-to-add", "--", *(n for n in names if (top / n).exists()), **environment)
        listed = _names(_git(top, "diff", "HEAD", *PLAIN, "--name-only", "-z", "--", *names, **environment))
        whole = _git(top, "diff", "HEAD", *PLAIN, "--", *names, **environment)
    parts = [f"diff --git {part}" for part in re.split(r"(?m)^diff --git ", whole)[1:]]
    return dict(zip(listed, parts, strict=True)) if len(listed) == len(parts) else {}


def _names(listed: str) -> list[str]:
    return [name for name in listed.split("\0") if name]


def _git(folder: Path, *arguments: str, **environment: str) -> str:
    """Returns git's output; an empty text if `folder` is in no checkout, or there is no git."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            timeout=10,
            env=os.environ | {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"} | environment,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""
