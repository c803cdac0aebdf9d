"""Whether the Hugging Face hub can be reached, asked once and quickly; if not, nothing waits for it again."""

import json
import logging
import os
import threading
from functools import cache
from pathlib import Path
from typing import Any

from finesweep.errors import ModelError

log = logging.getLogger(__name__)

LEGAL_MODEL = (
    "legal: a hub id, or a local folder with config.json, tokenizer files and, unless model.init=random, "
    "model.safetensors: model.name_or_path=FOLDER"
)
WEIGHTS = ("*.safetensors", "pytorch_model*.bin")  # what `from_pretrained` reads
ANSWER_TIMEOUT_S = 4.0  # for the hub's first answer
DECISION_TIMEOUT_S = 5.0  # for the whole question: a hanging name server ignores socket timeouts


@cache
def ensure_reachable_or_offline() -> bool:
    """Whether the hub may be asked for files; when it may not, the libraries are put into offline mode.

    Offline mode means that local copies are used and that what is not there fails at once, without retries.
    Decided once per process, within `DECISION_TIMEOUT_S`; worker processes started later inherit the answer.
    """
    import huggingface_hub

    if huggingface_hub.is_offline_mode():
        go_offline()  # TRANSFORMERS_OFFLINE alone does not reach every library
        return False
    problem = _first_problem()
    if problem is None:
        return True
    log.warning("%s cannot be reached (%s): using local copies only", _endpoint(), problem)
    go_offline()
    return False


def check_model_source(name_or_path: str, revision: str | None = None) -> dict[str, Any]:
    """The model's config.json, of a folder or of the hub (fetched, or the local copy).

    Raises: ModelError, within `DECISION_TIMEOUT_S` if the hub cannot be reached.
    """
    path = _config_file(name_or_path, revision)
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"model.name_or_path: {path}: not readable as JSON ({error}); {LEGAL_MODEL}"
        ) from error
    return found if isinstance(found, dict) else {}


def _config_file(name_or_path: str, revision: str | None) -> str:
    if os.path.isdir(name_or_path):
        path = os.path.join(name_or_path, "config.json")
        if not os.path.isfile(path):
            raise ModelError(f"model.name_or_path: {name_or_path}: no config.json in it; {LEGAL_MODEL}")
        return path
    if name_or_path.startswith((".", "/", "~")) or name_or_path.count("/") > 1:
        raise ModelError(f"model.name_or_path: {name_or_path}: no such folder; {LEGAL_MODEL}")
    reachable = ensure_reachable_or_offline()
    from huggingface_hub import hf_hub_download

    try:
        return str(hf_hub_download(name_or_path, "config.json", revision=revision))
    except (OSError, ValueError) as error:  # what huggingface_hub raises is one of these
        where = "on the hub" if reachable else "in the local copy, and the hub cannot be reached"
        raise ModelError(
            f"model.name_or_path: {name_or_path}: not found {where} ({type(error).__name__}); {LEGAL_MODEL}"
        ) from error


def model_commit(name_or_path: str, revision: str | None = None) -> str:
    """The commit that a hub's model is read from: the hub library keeps each in a folder of that name."""
    return Path(_config_file(name_or_path, revision)).parent.name


def go_offline() -> None:
    """Puts huggingface_hub, transformers (which asks the former) and datasets into offline mode, now."""
    import datasets.config
    import huggingface_hub.constants

    os.environ["HF_HUB_OFFLINE"] = "1"
    huggingface_hub.constants.HF_HUB_OFFLINE = True
    datasets.config.HF_HUB_OFFLINE = True
    datasets.config.HF_DATASETS_OFFLINE = True


def _first_problem() -> str | None:
    """What keeps the hub from answering; None if it answers."""
    problems: list[str | None] = []

    def ask() -> None:
        try:
            status = _ask()
            problems.append(f"it answers with status {status}" if status >= 500 else None)
        except Exception as error:  # no route, no name, refused, proxy, certificate: each means the same
            problems.append(f"{type(error).__name__}: {error}")

    # A daemon: a look-up that hangs must hold up neither this decision nor the end of the process.
    thread = threading.Thread(target=ask, name="hub-probe", daemon=True)
    thread.start()
    thread.join(DECISION_TIMEOUT_S)
    return problems[0] if problems else f"no answer in {DECISION_TIMEOUT_S:g} s"


def _ask() -> int:
    """HTTP status of the hub's front page, asked with the hub library's client, proxy and certificates."""
    import huggingface_hub

    return int(huggingface_hub.get_session().head(_endpoint(), timeout=ANSWER_TIMEOUT_S).status_code)


def _endpoint() -> str:
    import huggingface_hub.constants

    return str(huggingface_hub.constants.ENDPOINT)
