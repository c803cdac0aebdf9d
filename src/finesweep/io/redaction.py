"""Finds passwords and tokens in texts, and replaces them before the texts are written."""

import os
import re
from collections.abc import Callable
from typing import Any

HIDDEN = "***"
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
# A signed URL admits whoever has it: X-Amz-Signature, X-Goog-Signature, Signature, and Azure's sig.
_SIGNED = r"(?:[\w-]{0,64}signature|sig)"
_IN_QUERY = re.compile(rf"(?P<keep>[?&](?:{_NAME}|{_SIGNED})=)[^\s&'\"]{{1,999}}", re.IGNORECASE)
_PATTERNS = (_USER_IN_URL, _IN_URL, _IN_QUERY)
# In source code: api_key = "...", "token": "..."; in settings files also without quotes; known token formats.
_VALUE = r"[\w+/=!#%&*-]{8,}"
_LITERAL = re.compile(rf"{_NAME}['\"]?\s{{0,9}}[:=]\s{{0,9}}['\"]{_VALUE}['\"]", re.IGNORECASE)
_SETTING = re.compile(rf"{_NAME}['\"]?\s{{0,9}}[:=]\s{{0,9}}{_VALUE}", re.IGNORECASE)
_TOKEN = re.compile(r"\b(?:hf_|sk-|ghp_|github_pat_|glpat-|xox[bp]-|AKIA)[A-Za-z0-9_-]{12}")
_MIN_LENGTH = 8  # characters: a shorter value occurs in ordinary text by chance


def redact(text: str) -> str:
    """Replaces passwords in URLs, and the values of secret environment variables, by `***`."""
    return redactor()(text)


def redactor() -> Callable[[str], str]:
    """Returns `redact` for many texts: it reads the environment once."""
    secrets = _secret_values()

    def clean(text: str) -> str:
        for value in secrets:
            text = text.replace(value, HIDDEN)
        return redact_urls(text)

    return clean


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
    """Tells whether a source file seems to hold a secret. settings: it is YAML or the like, unquoted."""
    patterns = (_LITERAL, _TOKEN, *([_SETTING] if settings else []))
    return any(pattern.search(source) for pattern in patterns) or redact(source) != source


def is_secret(name: str, value: str) -> bool:
    """Tells whether a value is secret: by its name, by a password in a URL, or by a secret in ``{...}``."""
    inside = value.startswith("{") and _SETTING.search(value)
    return bool(SECRET_NAME.fullmatch(name) or inside) or any(pattern.search(value) for pattern in _PATTERNS)


def _secret_values() -> list[str]:
    """Lists values of secret environment variables, longest first, because one may contain another."""
    values = {
        value
        for name, value in os.environ.items()
        if SECRET_NAME.fullmatch(name) and len(value) >= _MIN_LENGTH
    }
    return sorted(values, key=len, reverse=True)
