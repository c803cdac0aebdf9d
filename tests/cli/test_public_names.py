"""`import finesweep`: the names that a program may use."""

import subprocess
import sys

import pytest

import finesweep


def test_importing_finesweep_imports_no_torch() -> None:
    code = (
        "import sys, finesweep; finesweep.RunConfig, finesweep.FinesweepError, finesweep.__version__;"
        "print([m for m in ('torch', 'mlflow', 'optuna', 'transformers', 'datasets') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", finesweep.__all__)
def test_every_public_name_exists(name: str) -> None:
    assert getattr(finesweep, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'finesweep' has no attribute 'nope'"):
        _ = finesweep.nope
