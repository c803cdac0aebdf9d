"""Averages the weights of checkpoints of one architecture into one checkpoint, a soup.

Source: Wortsman et al. (2022), Model soups: averaging weights of multiple fine-tuned models.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from finesweep.config.trained import FILE as TRAINED_WITH
from finesweep.io.atomic import staged
from finesweep.io.checkpoint import MANIFEST, sha256, write_manifest
from finesweep.tasks.evaluated import FILE as EVALUATION

WEIGHTS = "*.safetensors"
CONFIG = "config.json"
BASE_MODEL = "adapter_config.json"  # the file by which a checkpoint has adapters alone
TOKENIZER = "tokenizer.json"
STATE = ("truncation", "padding")  # in it: of the last text that was encoded
VOCABULARY = ("vocab.*", "merges.txt", "*.model")  # of tokenizers without it
DROPOUT = "dropout"  # in the names of settings that no prediction uses
NOT_SHARED = (MANIFEST, EVALUATION)


def architecture(folder: Path) -> dict[str, object] | None:
    """Returns what checkpoints must share to be put together; None for adapters alone.

    That is the model's settings, the tokenizer, and how rows are read (`finesweep.json`): the members get the
    same tokens, and predict in one precision.
    """
    if (folder / BASE_MODEL).is_file():
        return None
    stored = json.loads((folder / CONFIG).read_text())
    kept = {key: value for key, value in stored.items() if DROPOUT not in key and key != "_name_or_path"}
    return kept | {"tokenizer": _tokenizer(folder), "trained with": _trained_with(folder)}


def _tokenizer(folder: Path) -> dict[str, object]:
    found = folder / TOKENIZER
    if found.is_file():
        return {key: value for key, value in json.loads(found.read_text()).items() if key not in STATE}
    return {path.name: sha256(path) for pattern in VOCABULARY for path in sorted(folder.glob(pattern))}


def _trained_with(folder: Path) -> list[object]:
    found = folder / TRAINED_WITH
    stored = json.loads(found.read_text()) if found.is_file() else {}
    model, trainer = stored.get("model", {}), stored.get("trainer", {})
    return [stored.get("data"), model.get("max_length"), trainer.get("precision")]


def soup(members: Sequence[Path], target: Path) -> Path:
    """Writes the checkpoint `target` with the mean of the members' weights. Returns `target`.

    The same members in the same order give the same bytes. What else a checkpoint has is the first one's.
    """
    with staged(target, folder=True, replace_folder=True) as staging:
        for path in members[0].iterdir():
            if path.match(WEIGHTS):
                mean = _mean([load_file(member / path.name) for member in members])
                save_file(mean, staging / path.name, metadata={"format": "pt"})
            elif path.is_file() and path.name not in NOT_SHARED:
                shutil.copyfile(path, staging / path.name)
        write_manifest(staging)
    return target


def _mean(weights: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Averages tensors of the same name in float64; whole numbers, which nothing trains, are the first's."""
    return {
        name: _mean_of([one[name] for one in weights]) if first.is_floating_point() else first
        for name, first in weights[0].items()
    }


def _mean_of(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    summed = torch.stack([tensor.double() for tensor in tensors]).mean(dim=0)
    return summed.to(tensors[0].dtype)
