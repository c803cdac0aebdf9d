"""Redaction: passwords and tokens are kept out of everything that is written.

A secret on the command line is moved into an environment variable before Hydra sees it, so that Hydra's own
files, the study and MLflow hold ``${oc.env:FINESWEEP_SECRET_TRACKING_URI}`` in its place. All other texts go
through `redact` before they are written.
"""

import logging
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from finesweep.errors import ConfigError
from finesweep.io.atomic import write_text

HIDDEN = "***"
VARIABLE_PREFIX = "FINESWEEP_SECRET_"  # followed by the config key whose value the variable holds
ENV_SET = "hydra.job.env_set"
EXCLUDE_KEYS = "hydra.job.config.override_dirname.exclude_keys"
_WORDS = (
    r"password|passwd|passphrase|secret|credential|creds|netrc|cookie|authorization|api_?key"
    r"|(?:access|private)_?key|(?:token|[_-]key|[_-]pat|jwt|pass|_pwd|_auth)(?![a-z])"
)
# Repetitions are bounded, here and below: on a very long line an unbounded pattern would take minutes.
_NAME = rf"(?<![\w.-])[\w.-]{{0,64}}?(?:{_WORDS})[\w-]{{0,64}}"
SECRET_NAME = re.compile(_NAME, re.IGNORECASE)
# postgresql://user:password@host; for http the user too, which may be a token. In a path, `//` becomes `/`.
_SCHEME = r"\b[a-z][a-z0-9+.-]{0,30}:/{1,2}"
_IN_URL = re.compile(rf"(?P<keep>{_SCHEME}[^\s/@:]{{0,99}}:)[^\s@]\S{{0,999}}(?=@)", re.IGNORECASE)
_USER_IN_URL = re.compile(r"(?P<keep>\b(?:https?|mlflow-artifacts):/{1,2})[^\s/]{1,999}(?=@)", re.I)
_IN_QUERY = re.compile(rf"(?P<keep>[?&]{_NAME}=)[^\s&'\"]{{1,999}}", re.IGNORECASE)
_PATTERNS = (_USER_IN_URL, _IN_URL, _IN_QUERY)
# In source code: api_key = "...", "token": "..."; in settings files also without quotes; known token formats.
_VALUE = r"[\w+/=!#%&*-]{8,}"
_LITERAL = re.compile(rf"{_NAME}['\"]?\s{{0,9}}[:=]\s{{0,9}}['\"]{_VALUE}['\"]", re.IGNORECASE)
_SETTING = re.compile(rf"{_NAME}['\"]?\s{{0,9}}[:=]\s{{0,9}}{_VALUE}", re.IGNORECASE)
_TOKEN = re.compile(r"\b(?:hf_|sk-|ghp_|github_pat_|glpat-|xox[bp]-|AKIA)[A-Za-z0-9_-]{12}")
_MIN_LENGTH = 8  # characters: a shorter value occurs in ordinary text by chance


def redact(text: str) -> str:
    """Replaces passwords in URLs, and the values of secret environment variables, by `***`."""
    for value in _secret_values():
        text = text.replace(value, HIDDEN)
    return redact_urls(text)


def redact_urls(text: str) -> str:
    """Replaces passwords and tokens in URLs only. For values that are read again, such as a config's."""
    for pattern in _PATTERNS:
        text = pattern.sub(rf"\g<keep>{HIDDEN}", text)
    return text


def redact_values(node: Any, clean: Callable[[str], str] = redact_urls) -> Any:
    """Returns nested dictionaries and lists with `clean` applied to every text in them."""
    if isinstance(node, dict):
        return {key: redact_values(value, clean) for key, value in node.items()}
    if isinstance(node, list):
        return [redact_values(value, clean) for value in node]
    return clean(node) if isinstance(node, str) else node


def holds_secret(source: str, settings: bool) -> bool:
    """Whether a source file seems to hold a secret. `settings`: YAML and the like, with values unquoted."""
    patterns = (_LITERAL, _TOKEN, *([_SETTING] if settings else []))
    return any(pattern.search(source) for pattern in patterns) or redact(source) != source


def _secret_values() -> list[str]:
    """Values of secret environment variables, longest first: one may contain another."""
    values = {
        value
        for name, value in os.environ.items()
        if SECRET_NAME.fullmatch(name) and len(value) >= _MIN_LENGTH
    }
    return sorted(values, key=len, reverse=True)


def hide(arguments: Sequence[str]) -> list[str]:
    """Sets an environment variable for each secret argument, and returns the arguments with `${oc.env:NAME}`.

    Processes that are started later inherit the variables. Hydra would fill the values in where it names
    folders after overrides, so its list of keys to leave out gets the keys of the secrets.
    Raises: ConfigError for a secret inside of ``{...}``.
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
    if not equals or "${" in value or not _is_secret(key.lstrip("+~"), value):
        return argument
    variable = VARIABLE_PREFIX + re.sub(r"\W+", "_", key.lstrip("+~")).upper()
    os.environ[variable] = _parse_value(argument, value)
    return f"{key}=${{oc.env:{variable}}}"


def _parse_value(argument: str, value: str) -> str:
    """Returns the value as Hydra's grammar reads it: without quotes and escapes."""
    from hydra.core.override_parser.overrides_parser import (
        OverridesParser,  # slow to import, and rarely needed
    )
    from hydra.errors import HydraException

    try:
        parsed = OverridesParser.create().parse_override(argument).value()
    except HydraException:
        return value
    if isinstance(parsed, dict):
        key = argument.partition("=")[0]
        raise ConfigError(f"{key}: holds a password or a token; give it by itself: {key}.NAME=VALUE")
    return str(parsed)


def _is_secret(key: str, value: str) -> bool:
    named = SECRET_NAME.fullmatch(key.rpartition(".")[2]) or key.startswith(f"{ENV_SET}.")
    inside = value.startswith("{") and _SETTING.search(value)
    return bool(named or inside) or any(pattern.search(value) for pattern in _PATTERNS)


def protect(folder: Path) -> None:
    """Redacts the files that Hydra wrote for a job into `folder`, and from now on every log message."""
    for path in folder.glob("*.yaml"):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        clean = _without_env_set(redact_values(content, redact))
        if clean != content:
            write_text(path, yaml.safe_dump(clean, sort_keys=False))
    for handler in logging.getLogger().handlers:
        handler.addFilter(Redact())


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
