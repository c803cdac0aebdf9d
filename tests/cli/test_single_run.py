"""What a person sees of a single run: how far it is, and at the end what came out and what to do next."""

import json
import re
from pathlib import Path

import pytest
from processes import SMALL, train
from terminals import Terminal

from finesweep.hooks import current_watcher
from finesweep.monitor.training import showing_training

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def test_a_run_without_a_terminal_tells_each_evaluation_and_ends_with_a_summary(tmp_path: Path) -> None:
    done = train(*SMALL, "trainer.evals_per_epoch=2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("step ")]
    assert [line.partition(" evaluated: accuracy 0.")[0] for line in told] == ["step 6/13", "step 13/13"]
    (result,) = (json.loads(path.read_text()) for path in tmp_path.glob("outputs/*/*/result.json"))
    summary = done.stdout.splitlines()
    assert f"score:        accuracy {result['value']:.4f}" in summary
    assert f"checkpoint:   {Path(result['checkpoint']).relative_to(tmp_path)}" in summary
    assert f"  finesweep reproduce {result['run_id']}" in summary  # alone in its line, to be copied
    assert "\x1b" not in done.stdout + done.stderr


def test_a_run_in_a_terminal_redraws_one_line(tmp_path: Path) -> None:
    with Terminal(*SMALL, cwd=tmp_path) as terminal:
        seen = terminal.read()
        stdout, _ = terminal.process.communicate(timeout=60)
    assert terminal.process.returncode == 0, seen
    lines = re.split(r"[\r\n]+", ESCAPES.sub("", seen))
    progress = [line for line in lines if re.match(r"step \d+/13  epoch", line)]
    assert progress and all("examples/s  ETA " in line and len(line) <= 100 for line in progress)
    assert any(line.startswith("step 13/13 evaluated: ") for line in lines)
    assert seen.count("\x1b[?25l") == seen.count("\x1b[?25h") == 1  # the cursor is back
    assert "finesweep reproduce" in stdout and "\x1b" not in stdout


def test_plain_lines_come_seldom(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = [100.0]
    monkeypatch.setattr("finesweep.monitor.training.time.monotonic", lambda: now[0])
    with showing_training():
        watcher = current_watcher.get()
        assert watcher is not None
        for step in range(1, 101):
            now[0] += 0.4
            watcher.stepped(step, 100, step / 50, 0.5, 312.4, 40 - 0.4 * step)
    assert current_watcher.get() is None
    assert capsys.readouterr().err.splitlines() == [
        "step 39/100  epoch 0.78  loss 0.5000  312 examples/s  ETA 0:24",
        "step 77/100  epoch 1.54  loss 0.5000  312 examples/s  ETA 0:09",
    ]
