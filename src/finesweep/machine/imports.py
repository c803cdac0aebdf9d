"""Imports modules without looking for garbage among what they define."""

import gc
import sys
from importlib import import_module


def import_all(*names: str) -> None:
    """Imports modules, unless they are there, and exempts what they define from garbage collection.

    Looking for garbage among hundreds of thousands of objects that stay took a quarter of the time in which
    torch, transformers and MLflow are imported, and a third of a second in each later full collection, with
    which every training begins. Side effect: switches garbage collection on.
    """
    missing = [name for name in names if name not in sys.modules]
    if not missing:
        return
    gc.collect()  # what is garbage now would stay
    gc.disable()
    try:
        for name in missing:
            import_module(name)
        gc.freeze()
    finally:
        gc.enable()
