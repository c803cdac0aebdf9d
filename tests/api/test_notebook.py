"""The notebook in `docs/` runs from its first cell to its last, and so do the examples of its pages."""

import json
import re
from pathlib import Path

import pytest
from processes import ROOT, start

DOCS = ROOT / "docs"


def notebook() -> str:
    """The code cells, in order, as one program; the last line of each is shown, as a notebook does it."""
    cells = json.loads((DOCS / "notebook.ipynb").read_text())["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def example() -> str:
    return re.findall(r"```python\n(.*?)```", (DOCS / "python.md").read_text(), re.DOTALL)[0]


@pytest.mark.long
def test_the_notebook_and_the_example_run_one_after_the_other(own_folder: Path) -> None:
    for name in ("conf", "sweeps"):
        (own_folder / name).symlink_to(ROOT / name)
    program = "\n".join([notebook(), "print(answers.to_json())", example(), "print(study)"])
    (own_folder / "program.py").write_text(program)
    process = start(cwd=own_folder, program=("program.py",))
    stdout, stderr = process.communicate(timeout=250)
    assert process.returncode == 0, stderr
    assert '"id":{"0":17,"1":18},"prediction":{"0":"' in stdout
    assert "did you mean optimizer.learning_rate?" in stdout
    assert "Study('quickstart': 2 COMPLETE)" in stdout
