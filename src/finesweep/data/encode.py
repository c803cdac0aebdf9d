"""Encodes rows as token ids. The same rows are encoded once; every process maps the same file into memory."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import tokenizers
from datasets import Dataset

from finesweep.data.cache import cached_folder
from finesweep.data.fingerprint import fingerprint
from finesweep.data.source import LABEL
from finesweep.data.words import encode_words, token_columns

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_FORMAT = 1  # increase it when the encoded columns change, so that old cache entries are not used
_FILE = "encoded.arrow"
_BATCH = 1000


def encode(
    dataset: Dataset,
    tokenizer: "PreTrainedTokenizerBase",
    text_columns: list[str],
    max_length: int,
    cache_dir: Path,
    pretokenized: bool = False,
) -> Dataset:
    """Encodes the text columns as token ids, without padding.

    The result has the tokenizer's columns (input_ids, attention_mask, ...), "length" (the number of a row's
    tokens), and "labels" if the rows have labels. Two text columns are encoded as a pair; if a pair exceeds
    `max_length`, the longer text is cut first. pretokenized: the text column holds lists of words, and a
    label is a list of tags; see `words.encode_words`.
    The result is cached under `cache_dir` by the content of the rows, the tokenizer and the settings.
    """
    key = _key(dataset, tokenizer, text_columns, max_length, pretokenized)

    def build(folder: Path) -> None:
        _write(folder / _FILE, dataset, tokenizer, text_columns, max_length, pretokenized)

    def load(folder: Path) -> Dataset:
        return Dataset.from_file(str(folder / _FILE))

    return cached_folder(Path(cache_dir) / "encoded" / key, build, load)


def _key(
    dataset: Dataset,
    tokenizer: "PreTrainedTokenizerBase",
    text_columns: list[str],
    max_length: int,
    pretokenized: bool,
) -> str:
    made_with = [_FORMAT, tokenizers.__version__, _identity(tokenizer), text_columns, max_length]
    made_with += ["words"] if pretokenized else []
    parts = [fingerprint(dataset), made_with]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _identity(tokenizer: "PreTrainedTokenizerBase") -> list[Any]:
    """Returns what determines the token ids. Truncation and padding are left out: each call sets them."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        model: Any = [type(tokenizer).__qualname__, tokenizer.get_vocab(), repr(tokenizer)]
    else:
        model = json.loads(backend.to_str())
        model["truncation"] = model["padding"] = None
    return [model, tokenizer.model_input_names, tokenizer.truncation_side]


def _write(
    file: Path,
    dataset: Dataset,
    tokenizer: "PreTrainedTokenizerBase",
    text_columns: list[str],
    max_length: int,
    pretokenized: bool,
) -> None:
    writer = None
    with pa.OSFile(str(file), "wb") as sink:
        for batch in dataset.with_format("arrow").iter(_BATCH):
            texts = [batch[name].to_pylist() for name in text_columns]
            labels = batch[LABEL].combine_chunks() if LABEL in batch.column_names else None
            if pretokenized:
                columns = encode_words(texts[0], labels, tokenizer, max_length)
            else:
                encoding = tokenizer(*texts, truncation=True, max_length=max_length)  # True: longest first
                columns = token_columns(encoding) | ({} if labels is None else {"labels": labels})
            record = pa.RecordBatch.from_pydict(columns)
            writer = writer or pa.ipc.new_stream(sink, record.schema)
            writer.write_batch(record)
        if writer is not None:
            writer.close()
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        backend.no_truncation()  # else the saved tokenizer would depend on whether the cache was hit
