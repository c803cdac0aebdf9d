"""LoRA: adapters of low rank are trained in place of the model's own weights, by the library `peft`.

A checkpoint has the adapters, and the modules that the base model lacks, such as the output layer; it names
the base model in `base_model.json`, with what identifies its files.
"""

import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, PreTrainedModel

from finesweep.config.run import LoraConfig, ModelConfig
from finesweep.errors import ConfigError, FinesweepError, ModelError, first_line
from finesweep.io.reading import Unreadable, read_object
from finesweep.provenance.content import model_content
from finesweep.provenance.conversion import dump

WEIGHTS, BASE = "adapter_model.safetensors", "base_model.json"
ADAPTER = "default"  # the name that transformers gives a model's first one
PREFIX = "base_model.model."  # of every name in a file of peft


def add(model: PreTrainedModel, config: LoraConfig, new: Collection[str]) -> None:
    """Adds adapters, and freezes all other weights but those that no checkpoint of the base model has.

    new: the names of weights that were not in the base model's files.
    Raises: ConfigError if the model has no such targets.
    """
    import peft

    lora = peft.LoraConfig(
        r=config.r,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=config.targets,
        modules_to_save=_trained_whole(model, new),
    )
    try:
        model.add_adapter(lora)
    except ValueError as error:
        if "version of PEFT" in str(error):  # transformers' word on a package that is too old for it
            raise ConfigError(f"peft: {first_line(error)}: pip install --upgrade peft") from error
        linear = {name.rpartition(".")[2] for name, part in model.base_model.named_modules()
                  if isinstance(part, torch.nn.Linear)}  # fmt: skip
        legal = f"names of modules: {', '.join(sorted(linear))}; or all-linear ({first_line(error)})"
        raise ConfigError.at("peft.targets", config.targets, legal) from error


def _trained_whole(model: PreTrainedModel, new: Collection[str]) -> list[str]:
    """Names the modules that begin at random: the output layer, and what else the base model lacks."""
    encoder = {id(parameter) for parameter in model.base_model.parameters()}
    names = {
        name for name, parameter in model.named_parameters() if name in new or id(parameter) not in encoder
    }
    return sorted({name.rpartition(".")[0] for name in names})


def extend(model: PreTrainedModel, tokens: int) -> None:
    """Adds embeddings up to this number of tokens: the mean of the others, for no checkpoint holds them."""
    present = len(_embeddings(model))
    model.resize_token_embeddings(tokens, mean_resizing=False)
    with torch.no_grad():
        _embeddings(model)[present:] = _embeddings(model)[:present].mean(0)


def _embeddings(model: PreTrainedModel) -> torch.Tensor:
    """Returns the input embeddings [tokens, size]."""
    return cast(torch.Tensor, model.get_input_embeddings().weight)


def is_adapted(model: Any) -> bool:
    return bool(getattr(model, "_hf_peft_config_loaded", False))


def save(model: Any, base: ModelConfig, folder: Path) -> None:
    """Writes the adapters as peft does, the model's config, and what the base model is."""
    import peft

    # Else peft asks the hub, at each checkpoint, whether the base model has as many tokens.
    state = peft.get_peft_model_state_dict(model, adapter_name=ADAPTER, save_embedding_layers=False)
    folder.mkdir(parents=True, exist_ok=True)
    named = {f"{PREFIX}{name}": tensor.contiguous() for name, tensor in state.items()}
    save_file(named, folder / WEIGHTS, metadata={"format": "pt"})
    model.peft_config[ADAPTER].save_pretrained(str(folder))
    model.config.save_pretrained(folder)
    (folder / BASE).write_text(json.dumps(_described(base), indent=1) + "\n")


def _described(base: ModelConfig) -> dict[str, Any]:
    content: dict[str, Any] = dump(model_content(base))
    return {"name_or_path": base.name_or_path, "revision": base.revision, **content}


def resume(model: Any, folder: Path) -> None:
    """Takes the adapters' weights from a checkpoint of the same training."""
    import peft

    stored = load_file(folder / WEIGHTS)
    plain = {name.removeprefix(PREFIX): tensor for name, tensor in stored.items()}
    peft.set_peft_model_state_dict(model, plain, adapter_name=ADAPTER)


def load_trained(folder: Path, model_class: str, base: ModelConfig) -> PreTrainedModel:
    """Loads a published checkpoint, whole or of adapters on the base model that they were trained on.

    base: the run's model; if it is `folder` itself, the base model is the one that the checkpoint names.
    Raises: ModelError if the checkpoint cannot be loaded, or the base model is not the same any more.
    """
    kind = getattr(transformers, model_class)
    try:
        return _load_adapted(folder, kind, base) if (folder / BASE).is_file() else _load_whole(folder, kind)
    except FinesweepError:
        raise
    except Exception as error:  # the libraries have no common class for files that they cannot read
        raise ModelError(f"{folder}: its weights cannot be loaded: {first_line(error)}") from error


def _load_whole(folder: Path, kind: Any) -> PreTrainedModel:
    model: PreTrainedModel
    model, report = kind.from_pretrained(folder, trust_remote_code=False, output_loading_info=True)
    if missing := sorted(report["missing_keys"]):
        raise ModelError(
            f"{folder}: its weights file lacks {len(missing)} tensors of {type(model).__name__}, as "
            f"{missing[0]}; legal: a checkpoint that was trained for this task"
        )
    return model


def _load_adapted(folder: Path, kind: Any, base: ModelConfig) -> PreTrainedModel:
    then = _recorded_base(folder)
    if base.name_or_path == str(folder):
        base = replace(base, name_or_path=then.get("name_or_path"), revision=then.get("revision"))
    assert base.name_or_path is not None  # `preflight.check_peft` refuses adapters on any other
    _check_base(folder, then, base)
    place: dict[str, Any] = {"revision": base.revision, "trust_remote_code": False}
    architecture = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    tokens = architecture.vocab_size
    architecture.vocab_size = AutoConfig.from_pretrained(base.name_or_path, **place).vocab_size
    model: PreTrainedModel = kind.from_pretrained(
        base.name_or_path,
        config=architecture,
        dtype=torch.float32,
        ignore_mismatched_sizes=True,
        **place,
    )
    if tokens > len(_embeddings(model)):
        extend(model, tokens)
    model.load_adapter(str(folder))
    return model


def _recorded_base(folder: Path) -> dict[str, Any]:
    try:
        return read_object(folder / BASE)
    except Unreadable as error:
        raise ModelError(f"{folder / BASE}: {error}; take the checkpoint from its source again") from error


def _check_base(folder: Path, then: dict[str, Any], base: ModelConfig) -> None:
    now = _described(base)
    if any(then.get(key) != now.get(key) for key in ("files", "commit")):
        raise ModelError(
            f"model.name_or_path: {base.name_or_path}: not the model that the adapters in {folder} were "
            f"trained on ({then.get('name_or_path')}); set it to a folder or a commit with the same files"
        )
