"""Who may import what: the lines along which the code can be understood in parts."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parent.parent / "src"
# What makes a result. A study's worker joins both sides: it trains, and its finish step draws plots.
TRAINS = ("config", "io", "machine", "data", "tasks", "training", "tracking", "provenance", "study")


def imports(path: Path) -> Iterator[str]:
    """Yields every module and name that a file imports, also inside of functions: `omegaconf.DictConfig`."""
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


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__")


def graph() -> dict[str, set[str]]:
    """Module of finesweep, or of its plugin -> the modules of these that it imports."""
    modules = {module_of(path): path for path in SRC.rglob("*.py")}
    found = {name: set(imports(path)) & modules.keys() - {name} for name, path in modules.items()}
    # `from finesweep.io import checkpoint` names the package too, which says nothing.
    return {
        name: {used for used in uses if not any(other.startswith(f"{used}.") for other in uses)}
        for name, uses in found.items()
    }


def room_of(module: str) -> str:
    return module.split(".")[1] if module.count(".") else module


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("mlflow", ("finesweep/tracking/",)),
        ("optuna", tuple(f"finesweep/{room}/" for room in ("study", "worker", "monitor", "report"))),
        ("ray", ("finesweep/cluster/",)),
        ("omegaconf.DictConfig", ("finesweep/config/", "hydra_plugins/")),
    ],
)
def test_only_these_import(module: str, allowed: tuple[str, ...]) -> None:
    found = importers(module)
    assert found, f"nobody imports {module}: the rule checks nothing"
    assert not {path for path in found if not path.startswith(allowed)}


def test_nothing_under_finesweep_imports_the_plugin() -> None:
    assert {path for path in importers("hydra_plugins") if not path.startswith("hydra_plugins/")} == set()


def test_training_knows_neither_optuna_nor_hydra() -> None:
    for path in (SRC / "finesweep/training").glob("*.py"):
        assert not {name for name in imports(path) if name.split(".")[0] in ("optuna", "hydra", "omegaconf")}


def test_nothing_that_trains_imports_what_only_looks() -> None:
    rooms = ("monitor", "report", "reproduce", "inference", "cli", "api")
    looks = tuple(f"finesweep.{room}" for room in rooms)
    for room in TRAINS:
        files = list((SRC / "finesweep" / room).glob("*.py"))
        assert files, f"there is no room {room}"
        for path in files:
            assert not {name for name in imports(path) if name.startswith(looks)}, path


def test_no_file_and_no_room_imports_in_a_circle() -> None:
    files = graph()
    TopologicalSorter(files).prepare()  # raises CycleError, which names the circle
    rooms: dict[str, set[str]] = {}
    for module, uses in files.items():
        here = room_of(module)
        rooms.setdefault(here, set()).update(room_of(used) for used in uses if room_of(used) != here)
    TopologicalSorter(rooms).prepare()
    assert len(rooms) > 10


def test_discovery_of_the_plugins_stays_light() -> None:
    """Hydra imports every plugin on every start of every Hydra program on this machine."""
    code = (
        "import sys, hydra_plugins.finesweep.sweeper, hydra_plugins.finesweep.sweeps_source;"
        "import hydra_plugins.finesweep.ray;"
        "heavy = ('torch', 'mlflow', 'optuna', 'transformers', 'datasets', 'ray');"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_plugin_namespace_stays_open_to_others() -> None:
    assert not (SRC / "hydra_plugins/__init__.py").exists()
