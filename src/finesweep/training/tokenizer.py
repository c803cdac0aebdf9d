"""Loads a run's tokenizer, gives it a padding token if it has none, and counts what it does not know."""

import logging
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow.compute as pc
from datasets import Dataset
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from finesweep.config.run import ModelConfig
from finesweep.data import Splits
from finesweep.errors import ModelError
from finesweep.io.hub import unusable
from finesweep.training.vocabulary import trained_tokenizer

log = logging.getLogger(__name__)
# Shares of unknown tokens. A tokenizer without its files knows nothing at all: its share is 1.
SUSPICIOUS, UNUSABLE = 0.1, 0.5
_BATCH = 10_000


def load_tokenizer(
    config: ModelConfig, splits: Splits, text_columns: list[str], cache_dir: Path, pretokenized: bool = False
) -> PreTrainedTokenizerBase:
    """Loads the checkpoint's tokenizer, or trains one on the training split if `name_or_path` is null.

    pretokenized: texts are lists of words. Raises: ModelError as `read_tokenizer`.
    """
    if config.name_or_path is None:
        assert config.architecture is not None  # `check_model` refuses a config with neither of the two
        return trained_tokenizer(splits.train, text_columns, config.architecture.vocab_size, cache_dir)
    return read_tokenizer(config, pretokenized)


def read_tokenizer(config: ModelConfig, pretokenized: bool = False) -> PreTrainedTokenizerBase:
    """Loads the tokenizer of `name_or_path`.

    pretokenized: texts are lists of words; byte-level tokenizers then need a space before each word.
    Raises: ModelError if there is no such checkpoint, or if its tokenizer can neither pad a batch nor tell
    which word a piece belongs to where that is needed.
    """
    assert config.name_or_path is not None
    spaced = {"add_prefix_space": True} if pretokenized else {}
    try:
        loaded = AutoTokenizer.from_pretrained(
            config.name_or_path, revision=config.revision, trust_remote_code=False, **spaced
        )
    except Exception as error:  # the libraries have no common class for files that they cannot read
        raise unusable(config.name_or_path, "tokenizer", error) from error
    tokenizer = cast(PreTrainedTokenizerBase, loaded)
    if pretokenized and not tokenizer.is_fast:
        raise ModelError(
            f"model.name_or_path: {config.name_or_path}: its tokenizer cannot align pieces with words, which "
            "data.problem_type=token_classification needs; legal: a model with tokenizer.json"
        )
    _check_limit(config.name_or_path, tokenizer.model_max_length)
    _ensure_padding(config.name_or_path, tokenizer)
    return tokenizer


def _check_limit(name_or_path: str, limit: object) -> None:
    """Raises: ModelError for a limit of tokens that is none: the library takes any value out of the file."""
    if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not limit >= 1:
        raise ModelError(
            f"model.name_or_path: {name_or_path}: its tokenizer_config.json says model_max_length "
            f"{str(limit)[:100]!r}; legal: a whole number, or no such key"
        )


def _ensure_padding(name_or_path: str, tokenizer: PreTrainedTokenizerBase) -> None:
    """Pads with the end-of-text token if there is no padding token, as in GPT-2 and Llama, and says so."""
    if tokenizer.pad_token is not None:
        return
    if tokenizer.eos_token is None:
        raise ModelError(
            f"model.name_or_path: {name_or_path}: its tokenizer has neither a padding token nor an "
            "end-of-text token, so rows cannot be batched; legal: a tokenizer with pad_token or eos_token"
        )
    tokenizer.pad_token = tokenizer.eos_token
    log.warning(
        "model.name_or_path: %s: its tokenizer has no padding token; batches are padded with its end-of-text "
        "token %r", name_or_path, tokenizer.eos_token,
    )  # fmt: skip


def check_known(config: ModelConfig, tokenizer: PreTrainedTokenizerBase, rows: Dataset, pair: bool) -> None:
    """Warns if many tokens of the encoded rows are unknown. Raises: ModelError if most are."""
    share = unknown_share(tokenizer, rows, pair)
    if config.name_or_path is not None and share > UNUSABLE:
        raise ModelError(
            f"model.name_or_path: {config.name_or_path}: its tokenizer does not know {share:.0%} of the "
            f"tokens of the training rows (the limit is {UNUSABLE:.0%}); legal: a folder with the files of "
            "the model's own tokenizer (tokenizer.json, vocab.txt, ...), and a model for the rows' language"
        )
    if share > SUSPICIOUS:
        log.warning("%.0f%% of the tokens of the training rows are unknown to the tokenizer: is the model "
                    "one for their language?", 100 * share)  # fmt: skip


def unknown_share(tokenizer: PreTrainedTokenizerBase, rows: Dataset, pair: bool) -> float:
    """Returns the share of unknown tokens among all tokens that come from a text.

    A row without any token of its text counts as one unknown token: some tokenizers drop what they do not
    know. pair: rows consist of two texts.
    """
    counts = np.zeros(1, dtype=np.int64)  # of each token id
    for batch in rows.with_format("arrow").iter(_BATCH):
        found = np.bincount(pc.list_flatten(batch["input_ids"].combine_chunks()).to_numpy(False))
        size = max(len(found), len(counts))
        counts = np.pad(counts, (0, size - len(counts))) + np.pad(found, (0, size - len(found)))
    added = tokenizer.num_special_tokens_to_add(pair)
    empty = int((np.asarray(rows["length"][:]) <= added).sum())
    special = {number for number in tokenizer.all_special_ids if number < len(counts)}
    unknown = tokenizer.unk_token_id
    others = {tokenizer.eos_token_id, tokenizer.sep_token_id, tokenizer.bos_token_id, tokenizer.pad_token_id}
    is_own = unknown in special and unknown not in others  # in GPT-2, the end-of-text token is named unknown
    content = int(counts.sum() - counts[sorted(special)].sum()) + empty
    unknowns = int(counts[unknown]) if is_own else 0
    return (unknowns + empty) / max(1, content + unknowns)
