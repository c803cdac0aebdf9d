"""Turns an exception into one clear error without a traceback, and into the exit code."""

import dataclasses
import errno
import logging
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from hydra.conf import HydraConf
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf.errors import OmegaConfBaseException

from finesweep.errors import (
    EXIT_DONE,
    EXIT_NO,
    EXIT_UNUSABLE,
    FinesweepError,
    NotReproduced,
    NotSteered,
    NotValid,
    SweepFailed,
    did_you_mean,
    first_line,
)
from finesweep.io.job_secrets import hide
from finesweep.io.output import DISK_ERRORS, REMEDY, is_output_error, remove_refused, user
from finesweep.io.redaction import redact
from finesweep.io.terminal import show
from finesweep.machine import determinism

SWEEPER = "hydra.sweeper."  # the pages leave it out
# Errors of the machine, not of the program.
ENVIRONMENT = (errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, *DISK_ERRORS)
SWEPT_NULL = re.compile(r"(choice|shuffle|sort)\((.*)\)")
INTERRUPTED = 130  # the shell's code for Ctrl-C


def guarded(main: Callable[[], object]) -> int:
    """Runs `main` and returns the process's exit code; an error that nobody foresaw keeps its traceback.

    SIGTERM ends a run like Ctrl-C does, so that it is closed in MLflow as KILLED.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises exceptions instead of printing them
    determinism.fix_cublas_workspace()
    signal.signal(signal.SIGTERM, _terminate)
    logging.captureWarnings(True)
    try:
        sys.argv[1:] = hide(sys.argv[1:])
        main()
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        goes_on = "; the same command goes on from here" if {"-m", "--multirun"} & set(sys.argv) else ""
        print(f"interrupted{goes_on}", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        return _report(error)
    return EXIT_DONE


def _terminate(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def exit_on_error(job: HydraConf) -> Iterator[None]:
    """Ends the process if the job of a single run raises an error that a person can do something about.

    Hydra would print a line of its own before it raises a job's exception again, but SystemExit passes it.
    The job of a sweep raises its exceptions as they are: its worker handles them.
    Side effect: the job's folder, which Hydra has made, is removed if the run has written nothing there.
    """
    try:
        yield
    except Exception as error:
        if job.mode is not RunMode.RUN:
            raise
        code = _report(error)
        with suppress(OSError):
            remove_refused(Path(job.runtime.output_dir), job.output_subdir or "", Path(job.runtime.cwd))
        sys.exit(code)


def _report(error: Exception) -> int:
    """Prints an error that a person can do something about, and returns the exit code; raises any other."""
    message = _message(error)
    if message is None:
        raise error
    show(f"error: {message}", sys.stderr)
    return EXIT_NO if isinstance(error, (NotReproduced, NotSteered, NotValid, SweepFailed)) else EXIT_UNUSABLE


def _message(error: Exception) -> str | None:
    """Returns the message for an error that a person can do something about; None for any other."""
    if isinstance(error, FinesweepError):
        return redact(str(error))
    if refused := refused_config(error, sys.argv[1:]):
        return refused
    if isinstance(error, OSError):  # from Hydra's own folders, or from a disk that filled up
        where = error.filename or "a file"
        refused = f"{where}: user {user()} cannot write here ({error.strerror}); {REMEDY}"
        return refused if error.errno in ENVIRONMENT else None
    if is_output_error(error):
        first = str(error).strip().partition("\n")[0]
        return f"{first}; make room on the disk, and start the same command again"
    from finesweep.io.patience import store_error  # imports SQLAlchemy

    return redact(f"{cause}; then start the same command again") if (cause := store_error(error)) else None


def refused_config(error: Exception, arguments: Sequence[str]) -> str | None:
    """Returns the message for what Hydra and OmegaConf refuse in these arguments; None for another error."""
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        return explain(error)
    if isinstance(error, OverflowError) and (key := re.search(r"full_key: (\S+)", str(error))):  # OmegaConf's
        return f"{key.group(1)}: {first_line(error)}"
    if isinstance(error, ValueError) and "integer string conversion" in str(error):
        return "a number on the command line has more digits than Python converts (4300)"
    root = "Unexpected type for root: NoneType"  # OmegaConf's
    if isinstance(error, AssertionError) and root in str(error):
        return _inside_null(arguments)
    if not _is_of_hydra(error):
        return None
    return _null_group(arguments) if "Config group override must be" in str(error) else str(error)


def _is_of_hydra(error: Exception) -> bool:
    """Tells whether Hydra's own code raised the error: it refuses some arguments with built-in exceptions."""
    if error.__traceback__ is None or not isinstance(error, (ValueError, RuntimeError)):
        return False
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__")).startswith("hydra.")


def _null_group(arguments: Sequence[str]) -> str:
    """Explains `sweep=null`; Hydra's message does not name the group."""
    given = [text.partition("=")[0] for text in arguments if re.fullmatch(r"[\w/]+=null", text)]
    group = next(iter(given), "GROUP")
    return f"{group}: got null; legal: {group}=NAME, one that --help lists, or ~{group} to leave it out"


def _inside_null(arguments: Sequence[str]) -> str:
    """Explains `peft.r=4` without `peft=lora`; OmegaConf's message names no key."""
    inner = re.compile(r"[+]{0,2}((peft|model[.]architecture)[.]\w+)=.*")
    keys = [match for text in arguments if (match := inner.fullmatch(text))]
    key, group = keys[0].groups() if keys else ("a key", "its group")
    add = "add peft=lora" if group == "peft" else "give a model that has sizes, such as model=demo"
    return f"{key}: {group} is null, so nothing has this key; {add}"


def explain(error: Exception) -> str:
    """Returns Hydra's or OmegaConf's message, with the legal keys if a key was misspelt."""
    if isinstance(error, OverrideParseException):
        first, *more = str(error.message).splitlines()
        return _unparsed(error.override, more[0] if more and first.startswith("Error parsing") else first)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, name = error.missing_cfg_file.rpartition("/")
        return f"{group}: got {name!r}; {did_you_mean(name, error.options)}legal: {', '.join(error.options)}"
    cause: BaseException = error
    while cause.__cause__ is not None and not isinstance(cause, OmegaConfBaseException):
        cause = cause.__cause__
    if not isinstance(cause, OmegaConfBaseException):
        return " ".join(line.strip() for line in str(error).splitlines() if line.strip())
    text = str(cause).splitlines()[0]
    key = cause.full_key or _overridden(error)
    if dataclasses.is_dataclass(cause.object_type) and " not in " in text:
        return f"{key}: no such key; {_legal(key, [f.name for f in dataclasses.fields(cause.object_type)])}"
    if text.endswith("is not in struct"):
        return f"{key}: not there yet; to add it, write +{key}=..."
    if text.startswith("Cannot assign ") and " to Dict" in text:
        return f"{key}: {text}; {_dictionary(key)}"
    if "is not a ListConfig" in text:
        return f"{key}: {text}; legal: a list, {key}=[A, B]"
    if "is not a subclass of" in text:
        return f"{key}: {text.partition(':')[0]}; {_dictionary(key)}"
    if expected := re.search(r"value '(.*)', expected one of \[(.*)\]", text):
        text += f"; {did_you_mean(expected[1], expected[2].split(', '))}".rstrip("; ")
    return f"{key}: {text}" if key else text


def _of_study(key: str) -> str:
    """Returns the whole key of one that lacks `hydra.sweeper.study.`, as the pages write it."""
    from finesweep.config.study import StudyConfig, SweepConfig

    whole = (f"{SWEEPER}{key}", f"{SWEEPER}study.{key}")
    there = {f"{SWEEPER}{field.name}" for field in dataclasses.fields(SweepConfig)}
    there |= {f"{SWEEPER}study.{field.name}" for field in dataclasses.fields(StudyConfig)}
    found = [name for name in whole if name in there]
    return f"did you mean {found[0]}? " if found else ""


def _dictionary(key: str) -> str:
    return f"a dictionary has no quotes inside of those for the shell: '{key}={{name: value, name: value}}'"


def _unparsed(override: str, message: str) -> str:
    key, _, value = override.partition("=")
    if "NoneType is incompatible" in message and (inner := SWEPT_NULL.fullmatch(value)):
        return f"{override}: Hydra's {inner[1]}(...) takes no null; legal: {key}={inner[2]}"
    if value.startswith("{"):
        return f"{override}: not in Hydra's grammar ({message}); {_dictionary(key)}"
    if not value or '"' in value:
        return f"{override}: not in Hydra's grammar ({message})"
    remedy = f"a value with brackets, spaces or commas is quoted for Hydra too: '{key}=\"{value}\"'"
    return f"{override}: not in Hydra's grammar ({message}); {remedy}"


def _overridden(error: Exception) -> str:
    match = re.search(
        r"Could not (?:override|append to config\. An item is already at) '([^']+)'", str(error)
    )
    return match.group(1) if match else ""


def _legal(key: str, names: list[str]) -> str:
    prefix, _, name = key.rpartition(".")
    if hint := _of_study(key):
        return f"{hint}legal: {', '.join(names)}"
    hint = did_you_mean(name, names, f"{prefix}." if prefix else "")
    return f"{hint}legal: {', '.join(names)}"
