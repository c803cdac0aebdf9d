"""Writes values as Hydra overrides, in Hydra's grammar: what a trial composes from the text is the value.

Optuna stores None, booleans, numbers and strings. A list or a dictionary is therefore stored as its text in
Hydra's grammar, and so is a string that could be taken for such a text.
"""

import re
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString

from finesweep.errors import ConfigError

BARE = re.compile(r"(?!(null|true|false|inf|nan)$)[a-z_][\w./-]*", re.ASCII | re.IGNORECASE)
STARTS_OF_TEXTS = ("[", "{", "'")


def encode(value: Any) -> str:
    """Writes a value; a float keeps all its digits, and a string is quoted unless it is a plain word.

    Raises: ConfigError for the key of a dictionary that Hydra's grammar cannot express.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        bare = BARE.fullmatch(value)
        return value if bare else QuotedString(text=value, quote=Quote.single).with_quotes()
    if isinstance(value, list):
        return f"[{','.join(map(encode, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{_key(key)}:{encode(item)}' for key, item in value.items())}}}"
    return str(value)


def _key(key: Any) -> str:
    text = encode(key)
    if text.startswith("'"):
        raise ConfigError(f"{key!r}: Hydra takes no such key in a dictionary; legal: letters, digits, ./_-")
    return text


def stored(value: Any) -> Any:
    """Returns a value as Optuna stores it."""
    is_text = isinstance(value, str) and value.startswith(STARTS_OF_TEXTS)
    return encode(value) if is_text or isinstance(value, (list, dict)) else value


def encode_stored(value: Any) -> str:
    """Writes a value that `stored` returned."""
    is_text = isinstance(value, str) and value.startswith(STARTS_OF_TEXTS)
    return str(value) if is_text else encode(value)
