"""The verbs of the `finesweep` command. Light at import: torch and mlflow are a verb's own affair."""

import json
from typing import Any


def print_json(document: Any) -> None:
    print(json.dumps(document, indent=2))
