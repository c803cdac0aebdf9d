"""Access to the Hugging Face hub: a quick check that it answers, offline mode, a model's config file."""

import logging
import os
import threading
from functools import cache
from pathlib import Path
from typing import Any

from finesweep.errors import ModelError, first_line
from finesweep.io.reading import Unreadable, read_object

log = logging.getLogger(__name__)

LEGAL_MODEL = (
    "legal: a hub id, or a local folder with config.json, tokenizer files and, unless model.init=random, "
    "model.safetensors: model.name_or_path=FOLDER"
)
WEIGHTS = ("*.safetensors", "pytorch_model*.bin")  # the file names that `from_pretrained` reads
RESPONSE_TIMEOUT_S = 4.0  # for the HTTP response
DECISION_TIMEOUT_S = 5.0  # for the whole check: a name server that hangs ignores socket timeouts


@cache
def ensure_reachable_or_offline() -> bool:
    """Returns whether the hub answers; if it does not, puts the Hugging Face libraries into offline mode.

    Offline, the libraries use local copies, and a missing copy is an error at once, without retries.
    The check runs once per process, within `DECISION_TIMEOUT_S`; worker processes inherit offline mode.
    """
    import huggingface_hub

    if huggingface_hub.is_offline_mode():
        go_offline()  # TRANSFORMERS_OFFLINE alone does not reach every library
        return False
    problem = _find_problem()
    if problem is None:
        return True
    log.warning("%s cannot be reached (%s): using local copies only", _endpoint(), problem)
    go_offline()
    return False


def check_model_source(name_or_path: str, revision: str | None = None) -> dict[str, Any]:
    """Returns the content of a model's config.json: from a local folder, the hub, or the hub's local copy.

    Raises: ModelError, and within `DECISION_TIMEOUT_S` if the hub cannot be reached.
    """
    path = _config_file(name_or_path, revision)
    try:
        return read_object(Path(path))
    except Unreadable as error:
        raise ModelError(
            f"model.name_or_path: {path}: not readable as JSON ({error}); {LEGAL_MODEL}"
        ) from error


def unusable(name_or_path: str, part: str, error: Exception) -> ModelError:
    """Returns the error for a part of a model that a library has failed to load."""
    if "trust_remote_code" in str(error):
        return ModelError(
            f"model.name_or_path: {name_or_path}: its {part} needs Python code that comes with the model, "
            "and finesweep never runs such code; legal: a model of an architecture that transformers contains"
        )
    return ModelError(
        f"model.name_or_path: no usable {part} in {name_or_path!r}: {first_line(error)}; {LEGAL_MODEL}"
    )


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
    except (OSError, ValueError) as error:  # every error of huggingface_hub is one of these
        where = "on the hub" if reachable else "in the local copy, and the hub cannot be reached"
        raise ModelError(
            f"model.name_or_path: {name_or_path}: not found {where} ({type(error).__name__}); {LEGAL_MODEL}"
        ) from error


def model_commit(name_or_path: str, revision: str | None = None) -> str:
    """Returns the commit of a hub model: its local copy lies in a folder of that name."""
    return Path(_config_file(name_or_path, revision)).parent.name


def go_offline() -> None:
    """Puts huggingface_hub, datasets and transformers (which asks the first) into offline mode."""
    import datasets.config
    import huggingface_hub.constants

    os.environ["HF_HUB_OFFLINE"] = "1"
    huggingface_hub.constants.HF_HUB_OFFLINE = True
    datasets.config.HF_HUB_OFFLINE = True
    datasets.config.HF_DATASETS_OFFLINE = True


def _find_problem() -> str | None:
    """Returns the reason why the hub does not answer in time, or None if it answers."""
    problems: list[str | None] = []

    def probe() -> None:
        try:
            status = _request_status()
            problems.append(f"it answers with status {status}" if status >= 500 else None)
        except Exception as error:  # no route, no name, refused, proxy, certificate: it cannot be reached
            problems.append(f"{type(error).__name__}: {error}")

    # The thread is a daemon: a name look-up that hangs must delay neither this check nor the process's end.
    thread = threading.Thread(target=probe, name="hub-probe", daemon=True)
    thread.start()
    thread.join(DECISION_TIMEOUT_S)
    return problems[0] if problems else f"no answer in {DECISION_TIMEOUT_S:g} s"


def _request_status() -> int:
    """Returns the HTTP status of the hub's front page, through the hub library's own client and its proxy."""
    import huggingface_hub

    return int(huggingface_hub.get_session().head(_endpoint(), timeout=RESPONSE_TIMEOUT_S).status_code)


def _endpoint() -> str:
    import huggingface_hub.constants

    return str(huggingface_hub.constants.ENDPOINT)
