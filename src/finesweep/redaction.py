"""What nobody may read later: passwords and tokens, kept out of everything that is written.

A secret on the command line is moved into an environment variable before Hydra sees it, so that Hydra's own
files, the study and MLflow hold ``${oc.env:FINESWEEP_SECRET_TRACKING_URI}`` in its place. Whatever else is
written goes through `redact`.
"""

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from finesweep.files import write_text

HIDDEN = "***"
VARIABLE = "FINESWEEP_SECRET_"  # and the key that it is the value of
ENVIRONMENT = "hydra.job.env_set"
EXCLUDED = "hydra.job.config.override_dirname.exclude_keys"
_WORDS = (
    r"password|passwd|passphrase|secret|credential|creds|netrc|cookie|authorization|api_?key|(?:access|private)_?key"
    r"|(?:token|[_-]key|[_-]pat|jwt|pass|_pwd|_auth)(?![a-z])"
)
_NAME = rf"[\w.-]*(?:{_WORDS})[\w-]*"
SECRET_NAME = re.compile(_NAME, re.IGNORECASE)
# postgresql://user:password@host; of http the user too, who may be a token. A path keeps one of the slashes.
_IN_URL = re.compile(r"(?P<keep>\b[a-z][a-z0-9+.-]*:/{1,2}[^\s/@:]*:)[^\s@][^\s]*(?=@)", re.IGNORECASE)
_USER_IN_URL = re.compile(r"(?P<keep>\b(?:https?|mlflow-artifacts):/{1,2})[^\s/]+(?=@)", re.IGNORECASE)
_IN_QUERY = re.compile(rf"(?P<keep>[?&]{_NAME}=)[^\s&'\"]+", re.IGNORECASE)
_PATTERNS = (_USER_IN_URL, _IN_URL, _IN_QUERY)
# In source: api_key = "...", "token": "..."; in settings, without quotes too; tokens known by their looks.
_LITERAL = re.compile(rf"(?P<keep>{_NAME}['\"]?\s*[:=]\s*['\"])[^'\"\n]{{4,}}(?=['\"])", re.I)
_SETTING = re.compile(rf"(?P<keep>{_NAME}['\"]?\s*[:=]\s*)(?![\s'\"$\[{{*])[^\s#]{{4,}}", re.IGNORECASE)
_TOKEN = re.compile(r"(?P<keep>\b)(?:hf_|sk-|ghp_|github_pat_|glpat-|xox[bp]-|AKIA)[A-Za-z0-9_-]{12,}")
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


def redact_values(node: Any) -> Any:
    """The same of every text in nested dictionaries and lists."""
    if isinstance(node, dict):
        return {key: redact_values(value) for key, value in node.items()}
    if isinstance(node, list):
        return [redact_values(value) for value in node]
    return redact_urls(node) if isinstance(node, str) else node


def redact_source(patch: str, settings: bool) -> str:
    """A patch without literal passwords and tokens; `settings`: of YAML and its like, without quotes too."""
    for pattern in (_LITERAL, _TOKEN, *([_SETTING] if settings else [])):
        patch = pattern.sub(rf"\g<keep>{HIDDEN}", patch)
    return redact(patch)


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
    """
    shown = [_hidden(argument) for argument in arguments]
    keys = [text.partition("=")[0].lstrip("+~") for text in shown if f"${{oc.env:{VARIABLE}" in text]
    if keys and not any(text.startswith(EXCLUDED) for text in shown):
        shown.append(f"{EXCLUDED}=[{','.join(keys)}]")
    return shown


def _hidden(argument: str) -> str:
    key, equals, value = argument.partition("=")
    if not equals or value.startswith(("${", "{")) or not _is_secret(key.lstrip("+~"), value):
        return argument
    variable = VARIABLE + re.sub(r"\W+", "_", key.lstrip("+~")).upper()
    if value[:1] in "'\"" and value[-1:] == value[:1]:
        value = value[1:-1]
    os.environ[variable] = value
    return f"{key}=${{oc.env:{variable}}}"


def _is_secret(key: str, value: str) -> bool:
    named = SECRET_NAME.fullmatch(key.rpartition(".")[2]) or key.startswith(f"{ENVIRONMENT}.")
    return bool(named) or any(pattern.search(value) for pattern in _PATTERNS)


def redact_files(folder: Path) -> None:
    """The YAML that Hydra wrote of a job; `hydra.job.env_copy` puts values of the environment into it."""
    for path in folder.glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        clean = redact(text)
        for value in _environment_in(text):
            clean = clean.replace(value, HIDDEN)
        if clean != text:
            write_text(path, clean)


def _environment_in(text: str) -> list[str]:
    """The values under `hydra.job.env_set`, whatever their names."""
    node = yaml.safe_load(text)
    for key in ENVIRONMENT.split("."):
        node = node.get(key) if isinstance(node, dict) else None
    values = map(str, node.values()) if isinstance(node, dict) else ()
    return [value for value in values if len(value) > 3 and not value.startswith("${")]


class Redact(logging.Filter):
    """For the handlers of log files: conf/config.yaml names it."""

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            record.msg, record.args = redact(record.getMessage()), ()
        except (
            TypeError,
            ValueError,
            KeyError,
        ):  # arguments that do not fit: a library's slip, which ends no run
            record.msg, record.args = redact(f"{record.msg} {record.args}"), ()
        if record.exc_info and not record.exc_text:
            record.exc_text = redact(logging.Formatter().formatException(record.exc_info))
        return True
