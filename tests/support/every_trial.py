"""Makes every finished trial of a study again, each in a fresh process, and counts the verdicts.

python tests/support/every_trial.py STUDY [--at-once N]       in the folder where the study ran
"""

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from optuna.trial import TrialState

from finesweep.config.study import StudyConfig
from finesweep.study import studies
from finesweep.study.records import TrialRecord


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study")
    parser.add_argument("--at-once", type=int, default=2)
    arguments = parser.parse_args()
    trials = studies.load(arguments.study, StudyConfig().storage).get_trials(deepcopy=False)
    trained = [trial for trial in trials if TrialRecord(trial).reused_of is None]
    finished = [trial for trial in trained if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    started = time.monotonic()
    ids = [(trial.number, str(TrialRecord(trial).run_id)) for trial in finished]
    with ThreadPoolExecutor(arguments.at_once) as pool:
        verdicts = list(pool.map(lambda pair: verdict(*pair), ids))
    counts = Counter(verdicts)
    print(f"study {arguments.study}: {len(finished)} tried, {counts['EXACT']} EXACT; {dict(counts)}; "
          f"{time.monotonic() - started:.0f} s")  # fmt: skip
    return 0 if counts["EXACT"] == len(finished) > 0 else 1


def verdict(number: int, run_id: str) -> str:
    command = [sys.executable, "-m", "finesweep.cli.main", "reproduce", run_id, "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    found = (
        json.loads(done.stdout)["verdict"]
        if done.stdout
        else f"exit code {done.returncode}: {done.stderr[-500:]}"
    )
    print(f"trial {number}: {found}", flush=True)
    return str(found)


if __name__ == "__main__":
    sys.exit(main())
