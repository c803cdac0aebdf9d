"""A sweep ends with how sure its result is, and the winner can be tested against any kept trial."""

import json
from pathlib import Path

from processes import SMALL, finesweep, train

SWEEP = (*SMALL, "data.holdout=0.25", "optimizer.learning_rate=interval(1e-4,3e-3)",
         "trainer.per_device_train_batch_size=16", "hydra.sweeper.study.n_trials=4",
         "hydra.sweeper.enqueue=[{optimizer.learning_rate:1e-3}]",
         "hydra.sweeper.keep_checkpoints=2")  # fmt: skip


def test_a_sweep_says_how_sure_it_is(tmp_path: Path) -> None:
    done = train("-m", *SWEEP, "hydra.sweeper.study.name=sure", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "how sure:     95%: " in done.stdout and "over 50 rows, which also chose it" in done.stdout
    document = json.loads(finesweep("best", "sure", "--json", cwd=tmp_path).stdout)
    certainty, winner = document["certainty"], document["trial"]
    assert certainty["interval"]["low"] < document["value"] < certainty["interval"]["high"]
    final, score = certainty["final"], document["final_metrics"]["final_accuracy"]
    assert final["low"] < score < final["high"] and final["rows"] > 50
    assert certainty["missing"] == [] and 1 <= len(certainty["comparisons"]) <= 2
    assert {one["role"] for one in certainty["comparisons"]} <= {"runner-up", "baseline"}
    other = certainty["comparisons"][0]
    asked = finesweep("best", "sure", "--against", str(other["trial"]), "--json", cwd=tmp_path)
    again = json.loads(asked.stdout)
    assert again["certainty"]["comparisons"][-1] == other | {"role": ""}
    refused = finesweep("best", "sure", "--against", str(winner), cwd=tmp_path)
    assert refused.returncode == 2
    assert f"--against: got {winner}; legal: the number of another complete trial" in refused.stderr
