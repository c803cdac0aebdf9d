"""Dropout whose random numbers have 16 bits each, four to one draw of torch's generator.

torch draws one number of its Mersenne Twister for each element, which takes an eighth of a training step on a
CPU. The elements are as independent as before; a rate is rounded to a multiple of 2**-16.
"""

from typing import Any

import torch
from torch import nn
from torch.autograd import Function
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from finesweep.training.first_token import FAMILIES

STEPS = 2**16
ATTENTION = "finesweep"  # the name under which transformers knows `_attention`


def apply(model: PreTrainedModel) -> None:
    """Changes the model's dropout in place; in attention, that of known families."""
    for module in model.modules():
        if type(module) is nn.Dropout:
            module.__class__ = Dropout16
    if model.config.model_type in FAMILIES and model.config._attn_implementation == "sdpa":
        AttentionInterface.register(ATTENTION, _attention)
        AttentionMaskInterface.register(ATTENTION, sdpa_mask)
        model.config._attn_implementation = ATTENTION


class Dropout16(nn.Dropout):
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return drop(values, self.p) if self.training and self.p else values


class _Drop(Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, rate: float) -> torch.Tensor:
        factors = kept(values.shape, rate).to(values.dtype).div_(1 - rate)
        ctx.save_for_backward(factors)
        return values * factors

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (factors,) = ctx.saved_tensors
        return gradients[0] * factors, None


def drop(values: torch.Tensor, rate: float) -> torch.Tensor:
    """Sets elements to zero with probability `rate`, and divides the others by 1 - `rate`."""
    dropped: torch.Tensor = _Drop.apply(values, rate)  # type: ignore[no-untyped-call]
    return dropped


def kept(shape: torch.Size, rate: float) -> torch.Tensor:
    """Draws which elements are kept, each with probability 1 - `rate`: bool, of this shape."""
    count = shape.numel()
    draws = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None)  # all 64 bits
    bits = draws.view(torch.int16)[:count].view(shape)
    return bits >= round(rate * STEPS) - STEPS // 2


def _attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attends as the library does. query, key, value: [rows, heads, tokens, size]; mask: bool, or None."""
    if not dropout:
        output, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **options
        )
        return output, None
    scores = (query * (scaling or query.size(-1) ** -0.5)) @ key.transpose(2, 3)
    if attention_mask is not None:
        scores = scores.masked_fill(attention_mask.logical_not(), torch.finfo(scores.dtype).min)
    weights = drop(scores.softmax(-1), dropout)  # [rows, heads, tokens, tokens]
    return (weights @ value).transpose(1, 2).contiguous(), None
