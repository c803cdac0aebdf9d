"""Liveness: which process owns a trial, and whether that process is alive."""

from finesweep.machine.process import ProcessIdentity, this_process

BEAT_EVERY_S = 2.0
# The lease of an owner that cannot be seen from here: without a heartbeat for so long, it is gone.
GRACE_S = 120.0
SILENT_S = 5 * BEAT_EVERY_S  # a worker that was heard of in the last five beats is at work


def this_owner() -> str:
    return str(this_process())


def is_gone(owner: str | None, beat: float | None, now: float) -> bool:
    """Tells whether a trial's owner has died: at once if it can be seen, else when its lease has run out.

    owner: None, read under the study's lock, means that the worker was killed before it wrote its name.
    now, beat: by the study's clock.
    """
    if owner is None:
        return True
    if (alive := ProcessIdentity.parse(owner).is_alive()) is not None:
        return not alive
    return beat is not None and now - beat > GRACE_S


def is_silent(owner: str | None, beat: float | None, now: float) -> bool:
    """Tells whether an owner that cannot be seen misses heartbeats, and its lease is still running."""
    return (
        owner is not None
        and beat is not None
        and SILENT_S <= now - beat <= GRACE_S
        and ProcessIdentity.parse(owner).is_alive() is None
    )


class Listener:
    """Tells which of the owners that cannot be seen are alive: those that are heard of while it listens."""

    def __init__(self) -> None:
        self._first: dict[str, float] = {}  # the first heartbeat that was seen of each owner

    def is_alive(self, owner: str | None, beat: float | None, now: float) -> bool:
        if is_gone(owner, beat, now):
            return False
        if beat is None or ProcessIdentity.parse(str(owner)).is_alive():
            return True
        return beat > self._first.setdefault(str(owner), beat) and not is_silent(owner, beat, now)

    def may_be_dead(self, owner: str | None, beat: float | None, now: float) -> bool:
        """Tells whether an owner has given no sign of life yet: it will, or its lease runs out."""
        return not is_gone(owner, beat, now) and not self.is_alive(owner, beat, now)
