"""Trains a WordPiece vocabulary on the training rows, for a model that has no checkpoint."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pyarrow as pa
import pyarrow.compute as pc
import tokenizers
from datasets import Dataset
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from finesweep.data.cache import cached_folder
from finesweep.data.fingerprint import fingerprint
from finesweep.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_FORMAT = 1  # increase it when the same rows would give another vocabulary
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_ALPHABET = 1000  # how many characters it may hold, the most frequent ones; the library's default
_CONTINUED = "##"
_BATCH = 1000


def trained_tokenizer(
    train: Dataset, text_columns: list[str], vocab_size: int, cache_dir: Path
) -> "PreTrainedTokenizerBase":
    """Trains BERT's uncased tokenizer on `train`, with at most `vocab_size` tokens.

    The same rows give the same vocabulary in every process. The result is cached under `cache_dir`.

    Raises:
        ConfigError: `vocab_size` has no room for the special tokens and all characters of the rows.
    """
    # Imported here, and not as AutoTokenizer, because that imports torch, which takes three seconds.
    from transformers import BertTokenizer

    def build(folder: Path) -> None:
        BertTokenizer(vocab=learn_vocabulary(train, text_columns, vocab_size)).save_pretrained(folder)

    folder = _cache_entry(train, text_columns, vocab_size, cache_dir)
    return cast("PreTrainedTokenizerBase", cached_folder(folder, build, BertTokenizer.from_pretrained))


def check_vocab_size(train: Dataset, text_columns: list[str], vocab_size: int, cache_dir: Path) -> None:
    """Checks the size of a vocabulary that is not trained yet. Raises: ConfigError as `trained_tokenizer`."""
    if not _cache_entry(train, text_columns, vocab_size, cache_dir).is_dir():
        _fixed_tokens(_alphabet(train, text_columns, _normalizer()), vocab_size)


def _cache_entry(train: Dataset, text_columns: list[str], vocab_size: int, cache_dir: Path) -> Path:
    rows = fingerprint(train.select_columns(text_columns))
    made_of = json.dumps([_FORMAT, tokenizers.__version__, rows, vocab_size])
    return Path(cache_dir) / "vocabulary" / hashlib.sha256(made_of.encode()).hexdigest()[:32]


def _normalizer() -> normalizers.Normalizer:
    return normalizers.BertNormalizer(lowercase=True)


def learn_vocabulary(train: Dataset, text_columns: list[str], vocab_size: int) -> dict[str, int]:
    """Learns a vocabulary, token -> id. The same rows always give the same one.

    The library numbers the characters that continue a word (##a) in the order of a hash table with a random
    seed, and breaks ties between merges by these numbers. So all characters get their numbers here, sorted.
    """
    normalizer = _normalizer()
    alphabet = _alphabet(train, text_columns, normalizer)
    fixed = _fixed_tokens(alphabet, vocab_size)
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        special_tokens=fixed,
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        continuing_subword_prefix=_CONTINUED,
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(train, text_columns), trainer)
    return dict(sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]))


def _fixed_tokens(alphabet: list[str], vocab_size: int) -> list[str]:
    """Lists the tokens that are numbered before the library learns any. Raises: ConfigError."""
    fixed = [*_SPECIAL, *alphabet, *(_CONTINUED + character for character in alphabet)]
    if len(fixed) > vocab_size:
        legal = f"at least {len(fixed)}, for the characters of these rows"
        raise ConfigError.at("model.architecture.vocab_size", vocab_size, legal)
    return fixed


def _alphabet(train: Dataset, text_columns: list[str], normalizer: normalizers.Normalizer) -> list[str]:
    """Lists the most frequent characters, sorted. Of equally frequent ones, lower code points come first."""
    counts: Counter[str] = Counter()
    for batch in _texts(train, text_columns):
        counts.update(normalizer.normalize_str("\n".join(batch)))
    characters = [character for character in counts if not character.isspace()]
    return sorted(sorted(characters, key=lambda character: (-counts[character], character))[:_ALPHABET])


def _texts(train: Dataset, text_columns: list[str]) -> Iterator[list[str]]:
    """Yields batches of texts, or of single words if the column holds lists of words."""
    for batch in train.with_format("arrow").iter(_BATCH):
        for name in text_columns:
            column = batch[name].combine_chunks()
            yield (column if pa.types.is_string(column.type) else pc.list_flatten(column)).to_pylist()
