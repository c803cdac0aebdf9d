"""Reads, splits and encodes rows, from GLUE, from the user's own tables, or from the generated demo.

splits = load_splits(config.data, seed=config.seed)
train = encode(splits.train, tokenizer, config.data.text_columns, 128, Path("mlruns/cache"))
"""

from finesweep.data.encode import encode
from finesweep.data.fingerprint import fingerprint
from finesweep.data.load import Splits, load_splits, read_splits

__all__ = ["Splits", "encode", "fingerprint", "load_splits", "read_splits"]
