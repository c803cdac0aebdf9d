"""Every error finesweep raises on purpose.

FinesweepError                 a person can do something about it: message only, no traceback
├── ConfigError                a key, its value, what is legal
├── DataError                  a file, a line, what was expected
│   └── DataChanged            rows that are no longer those that the study began with
├── ModelError                 a model that cannot be found, read or used
├── OutputError                a folder that cannot be written, or has no room
├── StoreError                 a store that stays away for longer than the patience, or cannot be used
│   └── StoreAway              a store that did not answer one attempt; the same call may succeed later
├── ProcessDied                one of the processes that train a run together was killed
├── StudyError                 a study that is unknown, or does not match the command
├── RunError                   a run that is unknown, or cannot be made again
├── SubmissionError            predictions that the benchmark's server would refuse
├── SweepFailed                too many trials failed (exit code 1; those above 2)
├── NotValid                   a submission that would be refused (exit code 1)
├── NotSteered                 a trial that had ended before it could be stopped (exit code 1)
└── NotReproduced              a run that was made again and came out otherwise (exit code 1)
"""

from collections.abc import Iterable

EXIT_DONE, EXIT_NO, EXIT_UNUSABLE = 0, 1, 2


def did_you_mean(given: str, names: Iterable[str], prefix: str = "") -> str:
    """Returns ``did you mean NAME? `` if one of `names` is close to what was given; else an empty text.

    prefix: stands before the name in the message.
    """
    from difflib import get_close_matches

    close = get_close_matches(given, list(names), n=1)
    return f"did you mean {prefix}{close[0]}? " if close else ""


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message; the name of its class if it has no message."""
    return next(iter(str(error).splitlines()), type(error).__name__)


class FinesweepError(Exception):
    """Bad input, or a bad environment: the message says what, where, what is legal and what to do."""


class ConfigError(FinesweepError):
    """A config value that no run can be made of."""

    @classmethod
    def at(cls, key: str, value: object, legal: str) -> "ConfigError":
        """The usual form: ``optimizer.learning_rate: got -1.0; legal: a number above 0``."""
        return cls(f"{key}: got {value!r}; legal: {legal}")


class DataError(FinesweepError):
    """Data that cannot be read as the config describes it."""


class DataChanged(DataError):
    """Rows, or files of a model, that are not those of the study: its trials could not be compared."""


class ModelError(FinesweepError):
    """A checkpoint that cannot be loaded."""


class OutputError(FinesweepError):
    """An output folder that cannot hold what the run will write."""


class DatabaseGone(OutputError):
    """A database file that was deleted or replaced while it was in use."""


class StoreError(FinesweepError):
    """A store that stays locked or away for longer than a person wants to wait, or that cannot be used."""


class StoreAway(StoreError):
    """A store that did not answer one attempt. Whoever made the call may repeat it."""


class ProcessDied(FinesweepError):
    """One of the processes that train a run together was killed; it can go on from its last checkpoint."""


class StudyError(FinesweepError):
    """A study that does not exist, or is not the one the command describes."""


class RunError(FinesweepError):
    """A run that does not exist, or that cannot be made again."""


class SubmissionError(FinesweepError):
    """Predictions that are not a valid benchmark submission."""


class SweepFailed(FinesweepError):
    """The sweep came to an end without reaching its budget: too many trials failed. Exit code 1."""


class NotValid(FinesweepError):
    """Predictions were looked at, and they are no valid submission. Exit code 1."""


class NotSteered(FinesweepError):
    """What a person asked of a study came too late. Exit code 1."""


class NotReproduced(FinesweepError):
    """A run was made again, and came out otherwise. Exit code 1."""
