"""Who may import what: the lines along which the code can be understood in parts."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parent.parent / "src"


def imports(path: Path) -> Iterator[str]:
    """Every module and name that a file imports, also inside of functions: `omegaconf.DictConfig`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def importers(name: str) -> set[str]:
    return {
        str(path.relative_to(SRC))
        for path in SRC.rglob("*.py")
        if any(module == name or module.startswith(f"{name}.") for module in imports(path))
    }


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("mlflow", ("finesweep/tracking/",)),
        ("optuna", ("finesweep/sweep/",)),
        ("omegaconf.DictConfig", ("finesweep/config.py", "hydra_plugins/")),
    ],
)
def test_only_these_import(module: str, allowed: tuple[str, ...]) -> None:
    found = importers(module)
    assert found, f"nobody imports {module}: the rule checks nothing"
    assert not {path for path in found if not path.startswith(allowed)}


def test_nothing_under_finesweep_imports_the_plugin() -> None:
    assert {path for path in importers("hydra_plugins") if not path.startswith("hydra_plugins/")} == set()


def test_the_pipeline_knows_neither_optuna_nor_hydra() -> None:
    modules = set(imports(SRC / "finesweep/run.py"))
    assert not {module for module in modules if module.split(".")[0] in ("optuna", "hydra", "omegaconf")}


def test_discovery_of_the_plugins_stays_light() -> None:
    """Hydra imports every plugin on every start of every Hydra program on this machine."""
    code = (
        "import sys, hydra_plugins.finesweep.sweeper, hydra_plugins.finesweep.sweeps_source;"
        "print([m for m in ('torch', 'mlflow', 'optuna', 'transformers', 'datasets') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_plugin_namespace_stays_open_to_others() -> None:
    assert not (SRC / "hydra_plugins/__init__.py").exists()
