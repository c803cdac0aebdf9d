"""A user who may read what others made, and write only what is open to all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import optuna
import pytest

NOBODY = 65534


@contextmanager
def another_user() -> Iterator[None]:
    """Acts as that user. Skips the test where this process cannot, or that user cannot read the packages."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    os.seteuid(NOBODY)
    try:
        if not os.access(optuna.__file__, os.R_OK, effective_ids=True):
            pytest.skip(f"another user cannot read {optuna.__file__}: a folder above is closed to others")
        yield
    finally:
        os.seteuid(0)
