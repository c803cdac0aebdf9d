"""Runs the workers of a sweep on a Ray cluster: for each, a detached actor runs the worker's command.

No actor needs the process that launched it. Ray starts an actor again on another node when its node dies, and
an actor whose command has ended frees its resources.
"""

import os
import socket
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.actor import ActorHandle

from finesweep.cluster.ray import NAMESPACE, Share
from finesweep.cluster.ray_actor import CommandActor, Ended
from finesweep.io.terminal import show

POLL_S = 1.0
ANSWER_S = 5.0  # for which a stop waits for an actor that may have no node
ROOM_S = 30.0  # without room for a worker, before a person is told
INTERRUPTED = 130


def run_workers(
    command: Sequence[str],
    workers: int,
    folder: Path,
    share: Share,
    runtime_env: dict[str, Any],
    is_stopped: Callable[[], bool],
) -> None:
    """Runs so many copies of a command, and returns when none of them runs or waits for room any more."""
    options = _options(share, runtime_env)
    actor = ray.remote(CommandActor)
    brought = "working_dir" in runtime_env
    crew, name = Crew(share, is_stopped), f"worker-{socket.gethostname()}-{os.getpid()}"
    try:
        for index in range(workers):
            one = actor.options(name=f"{name}-{index}-{uuid.uuid4().hex[:8]}", **options)
            crew.add(one.remote(list(command), str(folder / f"{name}-{index}"), brought))
        while crew.waiting:
            crew.look()
    except BaseException:
        crew.kill()
        raise
    finally:
        ray.shutdown()


def _options(share: Share, runtime_env: dict[str, Any]) -> dict[str, Any]:
    """Returns the options of an actor that outlives this process and is started again after a death."""
    return {
        "lifetime": "detached",
        "namespace": NAMESPACE,
        "max_restarts": -1,
        "max_task_retries": -1,
        "max_concurrency": 4,  # while `wait` waits, others are answered
        "num_cpus": share.cpus,
        "num_gpus": share.gpus,
        "resources": share.resources,
        "runtime_env": runtime_env,
    }


@dataclass
class Crew:
    """The actors of one command."""

    share: Share
    is_stopped: Callable[[], bool]  # whether a person wants the workers to end
    waiting: dict[Any, ActorHandle] = field(default_factory=dict)  # by the promise of its command's end
    answers: dict[Any, Any] = field(default_factory=dict)  # promise of the end -> promise of an answer
    nothing_left: bool = False  # whether a worker has found no trial to take
    began: float = field(default_factory=time.monotonic)
    asked_again: float | None = None
    told: bool = False  # a person, that there is no room

    def add(self, actor: ActorHandle) -> None:
        ended = actor.wait.remote()
        self.waiting[ended] = actor
        self.answers[ended] = actor.is_here.remote()

    def look(self) -> None:
        """Waits for a moment; removes the actors whose commands have ended, and those that nobody needs."""
        done, _ = ray.wait([*self.waiting], timeout=POLL_S)
        for promise in done:
            self._take(promise)
            self._remove(promise)
        if self.is_stopped() and self.asked_again is None:
            self.asked_again = time.monotonic()
            self.answers = {promise: actor.is_here.remote() for promise, actor in self.waiting.items()}
        silent = self._unanswered()
        is_stopped = self.asked_again is not None and time.monotonic() - self.asked_again > ANSWER_S
        if is_stopped or (self.nothing_left and self.asked_again is None):
            for promise in silent:
                self._remove(promise)
        elif silent and time.monotonic() - self.began > ROOM_S:
            self._tell(len(silent))

    def _unanswered(self) -> list[Any]:
        """Returns the promises of actors for which the cluster has had no room."""
        answers = {self.answers[promise]: promise for promise in self.waiting}
        _, silent = ray.wait([*answers], num_returns=len(answers), timeout=0) if answers else ([], [])
        return [answers[answer] for answer in silent]

    def _take(self, promise: Any) -> None:
        """Tells a person how a command ended, unless it found nothing left to do or was stopped."""
        try:
            ended: Ended = ray.get(promise)
        except ray.exceptions.RayError as error:
            show(f"a worker's actor failed: {str(error).strip()}", sys.stderr)
            return
        self.nothing_left |= ended.code == 0
        if ended.code != 0 and not (self.is_stopped() and ended.code == INTERRUPTED):
            show(
                f"a worker on {ended.host} ended with exit code {ended.code}: {ended.last}\n"
                f"  see {ended.log} there",
                sys.stderr,
            )

    def _remove(self, promise: Any) -> None:
        with suppress(ray.exceptions.RayError):  # it has removed itself
            ray.kill(self.waiting.pop(promise))

    def _tell(self, count: int) -> None:
        if not self.told:
            self.told = True
            show(
                f"{count} workers wait for room on the Ray cluster: each takes {self.share} of one node",
                sys.stderr,
            )

    def kill(self) -> None:
        """Kills all commands, and removes all actors."""
        with suppress(Exception):
            silent = self._unanswered()
            here = [actor for promise, actor in self.waiting.items() if promise not in silent]
            ray.get([actor.kill.remote() for actor in here], timeout=ANSWER_S)
        for promise in [*self.waiting]:
            with suppress(Exception):
                self._remove(promise)
