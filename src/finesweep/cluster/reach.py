"""Refuses a sweep whose workers would start on hosts that cannot reach what it writes."""

import ipaddress
import socket
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from finesweep.config.run import RunConfig
from finesweep.errors import ConfigError
from finesweep.io.redaction import redact_urls

# Folders that each host has for itself. Source: the Filesystem Hierarchy Standard 3.0.
LOCAL = ("/tmp", "/var/tmp", "/dev/shm", "/run")
SHARED = "the absolute path of a folder that all hosts share"
SHOWN = 3  # hosts that an error names


def check_leaves_host(
    launcher: str, hosts: Mapping[str, str], run: RunConfig, storage: str, folder: str
) -> None:
    """Refuses stores and folders of this host alone, if workers may start on another one.

    launcher: the argument that chose it, such as ``hydra/launcher=slurm``.
    hosts: the names of all hosts where it may start workers, and their addresses as the engine knows them.
    run, storage, folder: as they were given, before relative places are made absolute; `folder` is
    `hydra.sweep.dir`.
    Raises: ConfigError, with a line for each key.
    """
    others = sorted({host for host in hosts if not is_this_host(host)})
    if not others:
        return
    # Nodes that a machine plays for itself share its loopback addresses.
    loops = all(_is_loopback(hosts[host]) for host in others)
    if problems := [*_problems(run, storage, folder), *([] if loops else _loopbacks(run, storage))]:
        named = ", ".join(others[:SHOWN]) + (", ..." if len(others) > SHOWN else "")
        raise ConfigError(
            f"{launcher}: starts workers on other hosts ({named}), which cannot reach what this host keeps "
            "for itself:\n" + "\n".join(f"  {problem}" for problem in problems)
        )


def is_this_host(name: str) -> bool:
    """Compares names without their domains: engines and the system differ in whether they add one."""
    return name.partition(".")[0].lower() == socket.gethostname().partition(".")[0].lower()


def _problems(run: RunConfig, storage: str, folder: str) -> Iterator[str]:
    if storage.startswith("sqlite"):
        yield _wrong("hydra.sweeper.study.storage", storage, "postgresql://USER@HOST/DATABASE")
    tracking = run.tracking
    if tracking.uri.startswith(("sqlite", "file:")) or "://" not in tracking.uri:
        yield _wrong("tracking.uri", tracking.uri, "an MLflow server, http://HOST:PORT")
    places = {"hydra.sweep.dir": folder, "cache_dir": run.cache_dir, "tracking.spool": tracking.spool}
    if not tracking.is_server:
        places["tracking.artifacts"] = tracking.artifacts
    for key, place in places.items():
        if not Path(place).is_absolute() or is_local(Path(place)):
            yield _wrong(key, place, f"{SHARED}, not under {' or '.join(LOCAL[:2])}")
    if is_local(Path.cwd()):
        yield _wrong("the working folder", str(Path.cwd()), "a folder that all hosts share")


def _loopbacks(run: RunConfig, storage: str) -> Iterator[str]:
    """Names the stores whose address means another machine on every host."""
    legal = "an address of its host that all hosts reach, and a server that listens there"
    for key, url in (("hydra.sweeper.study.storage", storage), ("tracking.uri", run.tracking.uri)):
        if (host := urlsplit(url).hostname) and _is_loopback(host):
            yield _wrong(key, redact_urls(url), legal)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address.lower() == "localhost"


def is_local(place: Path) -> bool:
    """Tells whether a place lies where each host has a folder of its own."""
    local = {*LOCAL, tempfile.gettempdir()}
    return any(place.is_relative_to(folder) or place.resolve().is_relative_to(folder) for folder in local)


def _wrong(key: str, value: str, legal: str) -> str:
    return f"{key}: got {value!r}; legal: {legal}"
