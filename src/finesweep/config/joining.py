"""`finesweep worker`: the Sweeper then starts workers for a study that is there, and makes none."""

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Joining:
    """What the command of a worker says beside the study."""

    workers: int | str  # how many this command starts; auto: as many as fit the host
    command: str | None  # the launching process, if one started this worker: its stop holds here, too
    ends_at: float | None = None  # when the engine ends this command, in seconds since 1970


joining: ContextVar[Joining | None] = ContextVar("joining", default=None)
