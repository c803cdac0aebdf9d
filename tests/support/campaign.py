"""Kills a sweep again and again, and proves that nothing is lost: python tests/support/campaign.py --kills 48

A study of two workers runs undisturbed. Then the same study runs in other folders and is killed with SIGKILL:
one worker or the whole process group at random times, and one of two commands at each place of `crashing.py`.
A study that is over before its kills are spent is followed by another one in a fresh folder; later ones also
prune and confirm, or pause trials. Each is run to its end by the same command, left alone, and compared with
the first.

One JSON document on stdout, progress on stderr; exit code 1 if anything is wrong.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import psutil
from aftermath import SweepAftermath, problems, read
from crashing import CONFIRMATION, CREATION, FINISH, OFTEN, ONCE, PAUSING, PRUNING, RECOVERY, ROOT, places
from processes import start

LIMIT_S = 240.0  # a command that takes longer hangs
WORKER, GROUP, MAKING = "at random: worker", "at random: group", "at random: group, while stores are made"
AT_RANDOM = (WORKER, GROUP, MAKING)
PREPARING = "so that there is something to recover"  # besides those that are asked for
MISSES = 5  # more than deliveries of one kind, after which it is given up: the summary then says so
EARLY = (MAKING, *CREATION)
LATE = (*FINISH, *CONFIRMATION, "given up")


@dataclass(frozen=True)
class Plan:
    """What is swept."""

    n_trials: int = 12
    rows: int = 600
    confirm: bool = False  # and prune
    pause: bool = False
    cold: bool = True  # each command starts Python anew

    @property
    def suffix(self) -> str:
        return "-confirm" if self.confirm else "-pause" if self.pause else ""

    @property
    def confirmations(self) -> int:
        return 4 if self.confirm else 0

    @property
    def arguments(self) -> list[str]:
        late = ["pruner=median", "confirm.top_k=2", "confirm.seeds=2"] if self.confirm else []
        late += ["pruner=pause"] if self.pause else []
        # With this seed some trials that pause are promoted, and others are given up.
        study = ["name=campaign", f"n_trials={self.n_trials}", "sampler=random", "seed=3", "max_retries=1000",
                 "max_failures=1000", *late]  # fmt: skip
        return [
            "-m",
            f"data.demo_rows={self.rows}",
            "trainer.num_train_epochs=1,2",
            "trainer.evals_per_epoch=2",
            "trainer.threads=1",
            "model.dropout=0.1",  # so that weights depend on the state of the random numbers
            "data.metric=roc_auc",  # of trials this short accuracies are equal, and equals do not pause
            "tracking.system_metrics=false",
            *(f"hydra.sweeper.study.{setting}" for setting in study),
            f"hydra.sweeper.keep_checkpoints={self.n_trials}",
            *(["+hydra.sweeper.study.pruner_options={n_startup_trials:2}"] if self.confirm else []),
            # Trials of one epoch are evaluated half way, those of two at the first rung as well.
            *(["+hydra.sweeper.study.pruner_options={min_resource:25}"] if self.pause else []),
        ]


@dataclass(frozen=True)
class Kill:
    kind: str  # at random, or a place's name
    passage: int  # of the place
    delay: float  # seconds, of a random one
    grace: float  # seconds that the survivors go on before they are killed too


@dataclass
class Report:
    asked: int = 0
    delivered: Counter[str] = field(default_factory=Counter)
    survivors: int = 0  # killed in their turn
    preparing: int = 0
    missed: Counter[str] = field(
        default_factory=Counter
    )  # the study was over first; delivered to a later one
    studies: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Command:
    """`python train.py -m`, in a process group of its own as a terminal gives it; its output is a file."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        program: Sequence[str] = ("train.py",),
        cold: bool = True,
        logs: Path | None = None,
    ) -> None:
        self.log = (logs or folder) / f"command-{time.monotonic_ns()}.log"
        script, *own = program
        with self.log.open("w") as log:
            stdio = (subprocess.DEVNULL, log.fileno(), log.fileno())
            command = (str(ROOT / script), *own)
            self.process = start(*arguments, program=command, cwd=folder, cold=cold, stdio=stdio)

    @property
    def over(self) -> bool:
        return self.process.poll() is not None

    @property
    def code(self) -> int:
        return self.process.wait()

    def wait(self, condition: Callable[[], Any], limit: float = LIMIT_S) -> Any:
        """What the condition says once it holds; False if the command is over. Raises: TimeoutError."""
        until = time.monotonic() + limit
        while not (found := condition()):
            if self.over:
                return False
            if time.monotonic() > until:
                raise TimeoutError(f"hangs; see {self.log}")
            time.sleep(0.05)
        return found

    def workers(self) -> list[psutil.Process]:
        """The children of the command's children: of those, the fork server alone has any."""
        try:
            children = psutil.Process(self.process.pid).children()
            return [worker for child in children for worker in child.children()]
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            return []

    def kill(self) -> bool:
        """All of it. Returns whether it was still there to be killed."""
        if self.over:
            return False
        with suppress(ProcessLookupError):  # it has ended since
            os.killpg(self.process.pid, signal.SIGKILL)
        return self.code == -signal.SIGKILL

    def complaint(self) -> str:
        return f"exit code {self.code}: {self.log.read_text()[-1500:]}"


def draw(
    kills: int, confirming: int, pausing: int, rng: random.Random, warm: bool = False
) -> list[list[Kill]]:
    """Every place once as far as there are kills, a few at random times, then any.

    warm: commands are forked; they find the stores' tables ready.
    Returns those of plain studies, of studies that also confirm, and of studies that pause.
    """
    late_places, pause_places = (*CONFIRMATION, *PRUNING), PAUSING
    left_out = (*(() if confirming else late_places), *(() if pausing else pause_places))
    left_out += CREATION if warm else ()
    special = (*late_places, *pause_places)
    names = [name for name in places() if name not in left_out]
    placed = min(len(names), kills - kills // 8)
    kinds = sorted(rng.sample(names, placed), key=lambda name: name not in special)
    kinds += islice(cycle([WORKER, GROUP, WORKER, GROUP, MAKING]), kills - placed)
    late = _moved(kinds, confirming, (*late_places, *FINISH, *RECOVERY), pause_places)
    paused = _moved(kinds, pausing, (*pause_places, *RECOVERY), late_places)
    again = cycle(name for name in pause_places if name not in LATE)  # in place of random ones
    paused = [next(again) if kind in (WORKER, MAKING) else kind for kind in paused]
    rng.shuffle(kinds)
    return [[drawn(kind, rng) for kind in group] for group in (kinds, late, paused)]


def _moved(kinds: list[str], count: int, first: Sequence[str], never: Sequence[str]) -> list[str]:
    """Takes so many kinds out of a list: if they are in it, those of `first`; none of `never`."""
    possible = [kind for kind in kinds if kind not in never]
    chosen = [kind for kind in possible if kind in first]
    moved = [*chosen, *(kind for kind in possible if kind not in first)][:count]
    for kind in moved:
        kinds.remove(kind)
    return moved


def drawn(kind: str, rng: random.Random) -> Kill:
    passage = rng.randint(1, 1 if kind in ONCE else OFTEN.get(kind, 2))
    delay = rng.uniform(0.0, 2.0) if kind == MAKING else rng.uniform(0.5, 25.0)
    return Kill(
        kind, passage, delay, rng.choice([0.0, 0.0, 0.0, rng.uniform(0, 10), rng.uniform(0, 10), LIMIT_S])
    )


class Campaign:
    def __init__(self, folder: Path, plan: Plan, pending: list[Kill], rng: random.Random) -> None:
        self.folder, self.plan, self.pending, self.rng = folder, plan, pending, rng
        self.report = Report(asked=len(pending))

    def run(self, undisturbed: SweepAftermath) -> Report:
        for number in range(len(self.pending) + 1):
            if not self.pending:
                break
            folder = self.folder / f"study-{number:02d}{self.plan.suffix}"
            folder.mkdir()
            self._study(folder, undisturbed)
        return self.report

    def _study(self, folder: Path, undisturbed: SweepAftermath) -> None:
        before = sum(self.report.delivered.values())
        found: list[str] = []
        try:
            while not found and (kill := self._next(read(folder))):
                self._deliver(kill, folder, found)
            command = Command(folder, *self.plan.arguments, cold=self.plan.cold)
            command.wait(lambda: command.over)
            if command.code:
                found.append(f"the last command: {command.complaint()}")
            aftermath = read(folder)
            found += problems(aftermath, undisturbed, self.plan.n_trials, self.plan.confirmations)
            numbers = aftermath.numbers(undisturbed, self.plan.n_trials)
        except Exception as error:
            found.append(f"{type(error).__name__}: {error}")
            numbers = {}
        numbers |= {"folder": folder.name, "kills": sum(self.report.delivered.values()) - before}
        self.report.studies.append(numbers)
        self.report.problems += [f"{folder.name}: {text}" for text in found]
        say("\n  PROBLEM: ".join([f"{folder.name}: over, {json.dumps(numbers)}", *found]))

    def _next(self, aftermath: SweepAftermath) -> Kill | None:
        """The first pending kill that can be delivered now; None if this study has no more to kill."""
        if aftermath.is_over(self.plan.n_trials):
            return None
        for kill in sorted(self.pending, key=lambda kill: kill.kind not in EARLY):
            if self._can_come(kill, aftermath):
                self.pending.remove(kill)
                return kill
        if any(kill.kind in RECOVERY for kill in self.pending) and self._more_to_train(aftermath):
            self.report.preparing += 1
            return Kill(PREPARING, 1, 0.0, 0.0)
        return None

    def _can_come(self, kill: Kill, aftermath: SweepAftermath) -> bool:
        if kill.kind in EARLY:
            return not aftermath.exists
        if kill.kind == "adopted":
            return bool(aftermath.adoptable)
        if kill.kind in RECOVERY:
            return bool(aftermath.lost)
        if kill.kind in LATE:
            half = len(aftermath.finished) * 2 >= self.plan.n_trials
            return half or all(other.kind in (*LATE, *RECOVERY, *EARLY) for other in self.pending)
        return self._more_to_train(aftermath)

    def _more_to_train(self, aftermath: SweepAftermath) -> bool:
        return len(aftermath.finished) < self.plan.n_trials - 1

    def _deliver(self, kill: Kill, folder: Path, found: list[str]) -> None:
        began = time.monotonic()
        latch = folder / f"latch-{time.monotonic_ns()}"
        commands = self._start(kill, folder, latch)
        try:
            if kill.kind in AT_RANDOM:
                done = self._at_random(kill, commands[0], folder)
            elif kill.kind == PREPARING:
                done = bool(commands[0].wait(lambda: read(folder).adoptable)) and commands[0].kill()
            else:
                done = self._at_place(commands, latch)
            found += self._end(kill, commands)
        finally:
            for command in commands:
                command.kill()
        if kill.kind != PREPARING:
            (self.report.delivered if done else self.report.missed)[kill.kind] += 1
            if not done and self.report.missed[kill.kind] < MISSES + self.report.delivered[kill.kind]:
                self.pending.append(drawn(kill.kind, self.rng))
        seconds, now = time.monotonic() - began, read(folder)
        say(
            f"{folder.name}: {'killed' if done else 'missed'} {kill} in {seconds:.0f} s; "
            f"{len(now.finished)} finished, {len(now.lost)} lost, {len(self.pending)} kills to come"
        )

    def _start(self, kill: Kill, folder: Path, latch: Path) -> list[Command]:
        if kill.kind in (*AT_RANDOM, PREPARING):
            return [Command(folder, *self.plan.arguments, cold=self.plan.cold)]
        program = ("tests/support/crashing.py", kill.kind, str(kill.passage), str(latch))
        arguments = [*self.plan.arguments, "hydra/launcher=basic"]
        return [Command(folder, *arguments, program=program, cold=self.plan.cold) for _ in "ab"]

    def _at_random(self, kill: Kill, command: Command, folder: Path) -> bool:
        if kill.kind == MAKING and not command.wait((folder / "mlruns" / "mlflow.db").exists):
            return False
        until = time.monotonic() + kill.delay
        command.wait(lambda: time.monotonic() > until)
        if kill.kind != WORKER:
            return command.kill()
        if not (found := command.wait(command.workers)):
            return False
        victim: psutil.Process = self.rng.choice(found)
        victim.kill()
        return bool(command.wait(lambda: not victim.is_running() or victim.status() == psutil.STATUS_ZOMBIE))

    def _at_place(self, commands: list[Command], latch: Path) -> bool:
        """Of two commands, the first one that comes there dies."""
        for command in commands:
            command.wait(lambda: latch.exists() and latch.read_text())
        pid = latch.read_text() if latch.exists() else ""
        return [command.code for command in commands if str(command.process.pid) == pid] == [-signal.SIGKILL]

    def _end(self, kill: Kill, commands: list[Command]) -> list[str]:
        """Survivors go on for a while and are killed too; those that end by themselves must end well."""
        until = time.monotonic() + kill.grace
        for command in commands:
            command.wait(lambda: time.monotonic() > until)
        survivors = [command for command in commands if command.kill()]
        self.report.survivors += len(survivors)
        if kill.grace == LIMIT_S and survivors:
            raise TimeoutError(f"a survivor of {kill} hangs; see {survivors[0].log}")
        return [
            f"a survivor of {kill}: {command.complaint()}"
            for command in commands if command.code not in (0, -signal.SIGKILL)
        ]  # fmt: skip


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run(folder: Path, parts: Sequence[tuple[Plan, list[Kill]]], rng: random.Random) -> dict[str, Any]:
    """The campaign and what came of it; `folder` is made. The first plan is the one that runs undisturbed."""
    began = time.monotonic()
    plan, undisturbed = parts[0][0], folder / "undisturbed"
    undisturbed.mkdir(parents=True)
    command = Command(undisturbed, *plan.arguments, cold=plan.cold)
    command.wait(lambda: command.over)
    model = read(undisturbed)
    say(f"undisturbed: {time.monotonic() - began:.0f} s, {json.dumps(model.numbers(model, plan.n_trials))}")
    wrong = [f"undisturbed: {text}" for text in problems(model, model, plan.n_trials)]
    reports = [Campaign(folder, each, list(kills), rng).run(model) for each, kills in parts]
    return summary(reports, wrong) | {"seconds": round(time.monotonic() - began)}


def summary(reports: Sequence[Report], wrong: list[str]) -> dict[str, Any]:
    delivered = sum((report.delivered for report in reports), Counter[str]())
    missed = sum((report.missed for report in reports), Counter[str]())
    asked = sum(report.asked for report in reports)
    studies = [study for report in reports for study in report.studies]
    wrong += [problem for report in reports for problem in report.problems]
    if delivered.total() != asked:
        wrong.append(f"{asked} kills were asked for, {delivered.total()} delivered")
    counts = ("trials", "retries", "promotions", "lost", "duplicates", "confirmations", "compared",
              "weights_equal", "tracked_whole", "weights_of_lost_tries")  # fmt: skip
    return {
        "ok": not wrong,
        "kills": {
            "asked": asked,
            "delivered": delivered.total(),
            "by_kind": dict(sorted(delivered.items())),
            "places": f"{len(set(delivered) - set(AT_RANDOM))} of {len(places())}",
            "besides": {
                "survivors of these": sum(report.survivors for report in reports),
                "to have something to recover": sum(report.preparing for report in reports),
            },
            "missed, and delivered later": dict(missed),
        },
        "trials": {name: sum(study.get(name, 0) for study in studies) for name in counts},
        "studies": studies,
        "problems": wrong,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=48)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trials", type=int, default=12, help="of each study")
    parser.add_argument("--confirming", type=int, help="kills of studies that prune and confirm; a fifth")
    parser.add_argument("--pausing", type=int, help="kills of studies that pause; a fifth")
    parser.add_argument("--warm", action="store_true", help="fork commands from a Python that has imported")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="the studies stay here, in a folder that is new"
    )
    given = parser.parse_args()
    rng, plan = random.Random(given.seed), Plan(given.trials, cold=not given.warm)
    fifth = given.kills // 5
    confirming = fifth if given.confirming is None else given.confirming
    pausing = fifth if given.pausing is None else given.pausing
    plain, late, paused = draw(given.kills, confirming, pausing, rng, given.warm)
    parts = [(plan, plain), (replace(plan, confirm=True), late), (replace(plan, pause=True), paused)]
    with tempfile.TemporaryDirectory(prefix="campaign-", ignore_cleanup_errors=True) as scratch:
        folder = given.keep.resolve() if given.keep else Path(scratch) / "studies"
        report = {"seed": given.seed} | run(folder, parts, rng)
    print(json.dumps(report, indent=1))
    return 0 if report["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
