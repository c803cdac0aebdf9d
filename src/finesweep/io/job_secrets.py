"""Keeps secrets out of what Hydra writes for a job: its arguments, its files and its log.

A secret on the command line is moved into an environment variable before Hydra sees it, so that Hydra's own
files, the study and MLflow hold ``${oc.env:FINESWEEP_SECRET_TRACKING_URI}`` in its place.
"""

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from finesweep.errors import ConfigError
from finesweep.io.atomic import write_text
from finesweep.io.job_log import complain_once
from finesweep.io.redaction import HIDDEN, is_secret, redact, redact_urls, redact_values, redactor

VARIABLE_PREFIX = "FINESWEEP_SECRET_"  # followed by the config key whose value the variable holds
_REFERENCE = re.compile(r"\$\{oc\.env:(\w+)\}")
ENV_SET = "hydra.job.env_set"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where PyYAML was built with it
EXCLUDE_KEYS = "hydra.job.config.override_dirname.exclude_keys"


def hide(arguments: Sequence[str]) -> list[str]:
    """Sets an environment variable for each secret argument, and returns the arguments with `${oc.env:NAME}`.

    Processes that are started later inherit the variables. Hydra would fill the values in where it names
    folders after overrides, so its list of keys to leave out gets the keys of the secrets.
    Raises: ConfigError for a secret inside of ``{...}`` or ``[...]``.
    """
    shown = [_without_secret(argument) for argument in arguments]
    if any(map(_is_hidden, shown)):
        keys = [text.partition("=")[0].lstrip("+~") for text in shown if _is_hidden(text)]
        given = [text for text in shown if text.startswith(f"{EXCLUDE_KEYS}=")]
        shown = [text for text in shown if text not in given]
        keys += [key for text in given for key in text.partition("=")[2].strip("[]").split(",")]
        last = max(index for index, text in enumerate(shown) if _is_hidden(text))
        shown.insert(last + 1, f"{EXCLUDE_KEYS}=[{','.join(keys)}]")  # Hydra refuses it behind an option
    return shown


def _is_hidden(argument: str) -> bool:
    return f"=${{oc.env:{VARIABLE_PREFIX}" in argument


def _without_secret(argument: str) -> str:
    key, equals, value = argument.partition("=")
    if not equals or "${" in value or not _holds_secret(key.lstrip("+~"), value):
        return argument
    variable = VARIABLE_PREFIX + re.sub(r"\W+", "_", key.lstrip("+~")).upper()
    os.environ[variable] = _parse_value(argument, value)
    return f"{key}=${{oc.env:{variable}}}"


def _parse_value(argument: str, value: str) -> str:
    """Returns the value as Hydra's grammar reads it: without quotes and escapes."""
    # Imported here, because it is slow to import and rarely needed.
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        parsed = OverridesParser.create().parse_override(argument).value()
    except HydraException:
        return value
    if isinstance(parsed, dict):
        key = argument.partition("=")[0]
        raise ConfigError(f"{key}: holds a password or a token; give it by itself: {key}.NAME=VALUE")
    if isinstance(parsed, list):
        key = argument.partition("=")[0]
        raise ConfigError(
            f"{key}: holds a password or a token, which cannot be hidden in a list; leave it out"
        )
    return str(parsed)


def _holds_secret(key: str, value: str) -> bool:
    if key.startswith("hydra") and value.lstrip().startswith(
        "{"
    ):  # {A: x}, or {env_set: {A: x}} one level up
        return value.strip("{} ") != "" and (key == ENV_SET or "env_set" in value or is_secret("", value))
    return is_secret(key.rpartition(".")[2], value) or key.startswith(f"{ENV_SET}.")


def by_reference(key: str, value: str) -> str:
    """Returns ``${oc.env:NAME}`` for the address of a store with a password, any other address as it is."""
    return value if redact_urls(value) == value else _reference(key, value)


def refer(key: str, value: str) -> str:
    """Returns ``${oc.env:NAME}`` for a secret value of Hydra's config, any other value as it is."""
    is_one = value and "${" not in value and _holds_secret(key, value)
    return _reference(key, value) if is_one else value


def _reference(key: str, value: str) -> str:
    """Names the variable that has the value.

    Side effect: sets one, which processes that are started later inherit, if none has.
    """
    name = VARIABLE_PREFIX + re.sub(r"\W+", "_", key).upper()
    name = next((known for known, held in os.environ.items() if held == value), name)
    os.environ[name] = value
    return f"${{oc.env:{name}}}"


def dereferenced(key: str, text: str) -> str:
    """Returns the value for what `by_reference` returned. Raises: ConfigError if its variable is not set."""
    reference = _REFERENCE.fullmatch(text)
    if reference is None:
        return text
    if reference[1] not in os.environ:
        raise ConfigError(
            f"{key}: the environment variable {reference[1]} is not set on this host; its value holds a "
            "password, and is not sent to workers. Set it on every host where workers start"
        )
    return os.environ[reference[1]]


def protect(folder: Path) -> None:
    """Redacts the files that Hydra wrote for a job into `folder`, and from now on every log message."""
    for path in folder.glob("*.yaml"):
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)
        clean = _without_env_set(redact_values(content, redactor()))
        if clean != content:
            write_text(path, yaml.safe_dump(clean, sort_keys=False))
    for handler in logging.getLogger().handlers:
        handler.addFilter(Redact())
        complain_once(handler)


def _without_env_set(content: Any) -> Any:
    """Hides every value under `env_set`: `hydra.job.env_copy` copies the environment's values there."""
    node = content
    for key in ENV_SET.split("."):
        node = node.get(key) if isinstance(node, dict) else None
    for key in node or ():
        if not str(node[key]).startswith("${"):
            node[key] = HIDDEN
    return content


class Redact(logging.Filter):
    """A filter for log handlers: redacts each message and its traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            record.msg, record.args = redact(record.getMessage()), ()
        except Exception:  # A library's arguments that do not fit its message must not end a run.
            record.msg, record.args = redact(str(record.msg)), ()
        if record.exc_info and not record.exc_text:
            record.exc_text = redact(logging.Formatter().formatException(record.exc_info))
        return True
