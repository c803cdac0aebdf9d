"""An embedding that trains the tokens which occur in the data, and puts the others back exactly.

A token that does not occur has no gradient: AdamW only multiplies its weights by 1 - learning rate * weight
decay at each step. That is done here when the weights are saved, with the same float32 products in the same
order, and not at each step for the whole vocabulary, with its gradients and moments.
"""

from typing import Any

import torch
from torch import nn
from torch.nn.functional import embedding
from transformers import PreTrainedModel

BLOCK = 1 << 16  # elements: they stay in a core's cache while all factors are multiplied into them


class OccurringEmbedding(nn.Module):
    """Takes the place of an `nn.Embedding`; its state dict is that of the whole one."""

    index: torch.Tensor  # [vocabulary] int64: the row in `weight`, or -1
    others: torch.Tensor  # [tokens that do not occur, size] float32

    def __init__(self, whole: nn.Embedding, occurring: torch.Tensor) -> None:
        """occurring: ids of tokens, int64, sorted."""
        super().__init__()
        self.padding_idx = whole.padding_idx
        self.is_occurring = torch.zeros(whole.num_embeddings, dtype=torch.bool)
        self.is_occurring[occurring] = True
        self.register_buffer("index", torch.full((whole.num_embeddings,), -1), persistent=False)
        self.index[occurring] = torch.arange(len(occurring))
        self.weight = nn.Parameter(whole.weight.detach()[occurring])
        self.register_buffer("others", whole.weight.detach()[~self.is_occurring], persistent=False)
        self._factors: list[float] = []  # of the decay since `others` was last brought up to date
        self.register_state_dict_post_hook(_join)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_split)  # type: ignore[no-untyped-call]

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Returns [*ids.shape, size]. Raises: IndexError for a token that does not occur in the data."""
        padding = None if self.padding_idx is None else int(self.index[self.padding_idx])
        return embedding(self.index[ids], self.weight, padding)

    def decay_with(self, optimizer: torch.optim.Optimizer) -> None:
        """Lets the tokens that do not occur decay with each step of an AdamW."""
        (group,) = (g for g in optimizer.param_groups if any(p is self.weight for p in g["params"]))
        if group["weight_decay"]:
            optimizer.register_step_pre_hook(
                lambda *_: self._factors.append(1 - group["lr"] * group["weight_decay"])
            )

    def whole_weight(self) -> torch.Tensor:
        """Returns the weights of all tokens [vocabulary, size], as the optimizer would have left them."""
        for block in self.others.view(-1).split(BLOCK):
            for factor in self._factors:
                block.mul_(factor)
        self._factors.clear()
        whole = self.others.new_empty(len(self.index), self.others.size(1))
        whole[self.is_occurring], whole[~self.is_occurring] = self.weight.detach(), self.others
        return whole


def _join(module: Any, state: dict[str, Any], prefix: str, _: Any) -> None:
    state[f"{prefix}weight"] = module.whole_weight()


def _split(module: Any, state: dict[str, Any], prefix: str, *_: Any) -> None:
    whole = state[f"{prefix}weight"]
    state[f"{prefix}weight"] = whole[module.is_occurring]
    module.others.copy_(whole[~module.is_occurring])


def apply(model: PreTrainedModel, occurring: torch.Tensor) -> OccurringEmbedding | None:
    """Replaces a model's input embedding. Returns None if it is frozen, shared, or all tokens occur."""
    whole = model.get_input_embeddings()
    if type(whole) is not nn.Embedding or not whole.weight.requires_grad:
        return None
    if model.get_output_embeddings() is not None or len(occurring) == whole.num_embeddings:
        return None
    if whole.padding_idx is not None:
        occurring = torch.cat([occurring, torch.tensor([whole.padding_idx])]).unique()
    trimmed = OccurringEmbedding(whole, occurring)
    model.set_input_embeddings(trimmed)
    return trimmed
