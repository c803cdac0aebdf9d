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

from finesweep.files import write_text

HIDDEN = "***"
_WORDS = (
    r"password|passwd|passphrase|secret|credential|cookie|authorization|api_?key|(?:access|private)_?key"
    r"|(?:token|[_-]key|[_-]pat|jwt|pass|_pwd|_auth)(?![a-z])"
)
_NAME = rf"[\w.-]*(?:{_WORDS})[\w-]*"
SECRET_NAME = re.compile(_NAME, re.IGNORECASE)
# scheme://user:password@host, https://token@host, ?password=...
_IN_URL = re.compile(r"(?P<keep>\b[a-z][a-z0-9+.-]*://[^\s/@:]*:)[^\s/]+(?=@)", re.IGNORECASE)
_USER_IN_URL = re.compile(r"(?P<keep>\b(?:https?|mlflow-artifacts)://)[^\s/@:]+(?=@)", re.IGNORECASE)
_IN_QUERY = re.compile(rf"(?P<keep>[?&]{_NAME}=)[^\s&'\"]+", re.IGNORECASE)
_PATTERNS = (_IN_URL, _USER_IN_URL, _IN_QUERY)
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

    Processes that are started later inherit them.
    """
    return [_hidden(argument) for argument in arguments]


def _hidden(argument: str) -> str:
    key, equals, value = argument.partition("=")
    if not equals or value.startswith("${") or not _is_secret(key, value):
        return argument
    variable = "FINESWEEP_SECRET_" + re.sub(r"\W+", "_", key.lstrip("+~")).upper()
    if value[:1] in "'\"" and value[-1:] == value[:1]:
        value = value[1:-1]
    os.environ[variable] = value
    return f"{key}=${{oc.env:{variable}}}"


def _is_secret(key: str, value: str) -> bool:
    name = key.lstrip("+~").rpartition(".")[2]
    return bool(SECRET_NAME.fullmatch(name)) or any(pattern.search(value) for pattern in _PATTERNS)


def redact_files(folder: Path) -> None:
    """The YAML that Hydra wrote of a job: `hydra.job.env_copy` puts values of the environment into it."""
    for path in folder.glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        if (clean := redact(text)) != text:
            write_text(path, clean)


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
