"""What nobody may read later: passwords and tokens, kept out of everything that is written.

A secret on the command line is moved into an environment variable before Hydra sees it, so that Hydra's own
files, the study and MLflow hold ``${oc.env:FINESWEEP_SECRET_TRACKING_URI}`` in its place. Whatever else is
written goes through `redact`.
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
VARIABLE = "FINESWEEP_SECRET_"  # and the key that it is the value of
ENVIRONMENT = "hydra.job.env_set"
EXCLUDED = "hydra.job.config.override_dirname.exclude_keys"
_WORDS = (
    r"password|passwd|passphrase|secret|credential|creds|netrc|cookie|authorization|api_?key"
    r"|(?:access|private)_?key|(?:token|[_-]key|[_-]pat|jwt|pass|_pwd|_auth)(?![a-z])"
)
# Bounded, as all that follows: a line may be long, and a regular expression slow.
_NAME = rf"(?<![\w.-])[\w.-]{{0,64}}?(?:{_WORDS})[\w-]{{0,64}}"
SECRET_NAME = re.compile(_NAME, re.IGNORECASE)
# postgresql://user:password@host; of http the user too, who may be a token. A path keeps one of the slashes.
_SCHEME = r"\b[a-z][a-z0-9+.-]{0,30}:/{1,2}"
_IN_URL = re.compile(rf"(?P<keep>{_SCHEME}[^\s/@:]{{0,99}}:)[^\s@]\S{{0,999}}(?=@)", re.IGNORECASE)
_USER_IN_URL = re.compile(r"(?P<keep>\b(?:https?|mlflow-artifacts):/{1,2})[^\s/]{1,999}(?=@)", re.I)
_IN_QUERY = re.compile(rf"(?P<keep>[?&]{_NAME}=)[^\s&'\"]{{1,999}}", re.IGNORECASE)
_PATTERNS = (_USER_IN_URL, _IN_URL, _IN_QUERY)
# In source: api_key = "...", "token": "..."; in settings, without quotes too; tokens known by their looks.
_VALUE = r"[\w+/=!#%&*-]{8,}"
_LITERAL = re.compile(rf"{_NAME}['\"]?\s{{0,9}}[:=]\s{{0,9}}['\"]{_VALUE}['\"]", re.IGNORECASE)
_SETTING = re.compile(rf"{_NAME}['\"]?\s{{0,9}}[:=]\s{{0,9}}{_VALUE}", re.IGNORECASE)
_TOKEN = re.compile(r"\b(?:hf_|sk-|ghp_|github_pat_|glpat-|xox[bp]-|AKIA)[A-Za-z0-9_-]{12}")
_SHORTEST = 8  # characters: a shorter value may stand anywhere by chance


def redact(text: str) -> str:
    """Free text without the passwords in its URLs, and without the values of secret environment variables."""
    for value in _secret_values():
        text = text.replace(value, HIDDEN)
    return redact_urls(text)


def redact_urls(text: str) -> str:
    """For values that are read again, such as a config's: what merely looks like a password stays."""
    for pattern in _PATTERNS:
        text = pattern.sub(rf"\g<keep>{HIDDEN}", text)
    return text


def redact_values(node: Any, clean: Callable[[str], str] = redact_urls) -> Any:
    """The same of every text in nested dictionaries and lists."""
    if isinstance(node, dict):
        return {key: redact_values(value, clean) for key, value in node.items()}
    if isinstance(node, list):
        return [redact_values(value, clean) for value in node]
    return clean(node) if isinstance(node, str) else node


def holds_secret(source: str, settings: bool) -> bool:
    """Whether source code holds what looks like one; `settings`: YAML and its like, which need no quotes."""
    patterns = (_LITERAL, _TOKEN, *([_SETTING] if settings else []))
    return any(pattern.search(source) for pattern in patterns) or redact(source) != source


def _secret_values() -> list[str]:
    """Longest first: one may contain another."""
    found = {
        value for name, value in os.environ.items() if SECRET_NAME.fullmatch(name) and len(value) >= _SHORTEST
    }
    return sorted(found, key=len, reverse=True)


def hide(arguments: Sequence[str]) -> list[str]:
    """Hydra's arguments, secrets replaced by interpolations of environment variables that are set here.

    Processes that are started later inherit them. Hydra would fill them in where folders are named after
    overrides, so it is told to leave these out.
    Raises: ConfigError for a secret inside of ``{...}``.
    """
    shown = [_hidden(argument) for argument in arguments]
    hidden = [index for index, text in enumerate(shown) if f"=${{oc.env:{VARIABLE}" in text]
    if hidden:
        keys = [shown[index].partition("=")[0].lstrip("+~") for index in hidden]
        given = [text for text in shown if text.startswith(f"{EXCLUDED}=")]
        shown = [text for text in shown if text not in given]
        keys += [key for text in given for key in text.partition("=")[2].strip("[]").split(",")]
        last = max(index for index, text in enumerate(shown) if f"=${{oc.env:{VARIABLE}" in text)
        shown.insert(last + 1, f"{EXCLUDED}=[{','.join(keys)}]")  # not behind an option: Hydra refuses that
    return shown


def _hidden(argument: str) -> str:
    key, equals, value = argument.partition("=")
    if not equals or "${" in value or not _is_secret(key.lstrip("+~"), value):
        return argument
    variable = VARIABLE + re.sub(r"\W+", "_", key.lstrip("+~")).upper()
    os.environ[variable] = _plain(argument, value)
    return f"{key}=${{oc.env:{variable}}}"


def _plain(argument: str, value: str) -> str:
    """The value as Hydra's grammar reads it: without quotes and escapes."""
    from hydra.core.override_parser.overrides_parser import OverridesParser  # seldom needed
    from hydra.errors import HydraException

    try:
        found = OverridesParser.create().parse_override(argument).value()
    except HydraException:
        return value
    if isinstance(found, dict):
        key = argument.partition("=")[0]
        raise ConfigError(f"{key}: holds a password or a token; give it by itself: {key}.NAME=VALUE")
    return str(found)


def _is_secret(key: str, value: str) -> bool:
    named = SECRET_NAME.fullmatch(key.rpartition(".")[2]) or key.startswith(f"{ENVIRONMENT}.")
    inside = value.startswith("{") and _SETTING.search(value)
    return bool(named or inside) or any(pattern.search(value) for pattern in _PATTERNS)


def protect(folder: Path) -> None:
    """At the start of a job: what Hydra wrote of it, in `folder`, and what will be logged."""
    for path in folder.glob("*.yaml"):
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        clean = _without_environment(redact_values(found, redact))
        if clean != found:
            write_text(path, yaml.safe_dump(clean, sort_keys=False))
    for handler in logging.getLogger().handlers:
        handler.addFilter(Redact())


def _without_environment(found: Any) -> Any:
    """`hydra.job.env_copy` puts values of the environment under `env_set`, whatever their names."""
    node = found
    for key in ENVIRONMENT.split("."):
        node = node.get(key) if isinstance(node, dict) else None
    for key in node or ():
        if not str(node[key]).startswith("${"):
            node[key] = HIDDEN
    return found


class Redact(logging.Filter):
    """For the handlers of log files."""

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            record.msg, record.args = redact(record.getMessage()), ()
        except Exception:  # arguments that do not fit: a library's slip, which ends no run
            record.msg, record.args = redact(str(record.msg)), ()
        if record.exc_info and not record.exc_text:
            record.exc_text = redact(logging.Formatter().formatException(record.exc_info))
        return True
