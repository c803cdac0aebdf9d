"""Processes that train a run together: the same result each time, whoever dies, and as one would make it."""

import json
import os
import random
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from processes import Process, finesweep, start, train
from safetensors.torch import load_file
from torch import Tensor, allclose

from finesweep.config.run import RunConfig, TrackingConfig
from finesweep.io import checkpoint
from finesweep.reproduce.recorded_run import load_recorded_run
from finesweep.tasks import Scorer, evaluated
from finesweep.tracking import open_store
from finesweep.training.evaluation import by_length
from finesweep.training.inputs import load_inputs
from finesweep.training.predict import predictor

pytestmark = [
    pytest.mark.xdist_group("ranks"),  # one process makes the run that the tests share
    pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="cores are shared out on Linux only"),
]

# A regression, whose predictions are hashed with all digits.
TABLE = ("data=table", "data.path=t.csv", "data.text_columns=[text]", "data.holdout=0.2", "data.metric=rmse",
         "data.problem_type=regression", "tracking.system_metrics=false", "trainer.threads=1",
         "trainer.precision=fp32")  # fmt: skip
# In bf16, which `auto` is on a CPU with AMX, a step's digits depend on how many rows a batch has.
SHORT = ("trainer.num_train_epochs=2", "trainer.per_device_train_batch_size=8", "trainer.evals_per_epoch=2",
         "optimizer.learning_rate=1e-3", "model.dropout=0.1")  # fmt: skip
TWO = "trainer.num_processes=2"
WORDS = ("one", "row", "has", "a", "few", "of", "these", "words", "and", "another", "more")


def write_table(folder: Path, rows: int = 400) -> None:
    draw = random.Random(0)
    lines = (f"{' '.join(draw.choices(WORDS, k=draw.randint(1, 30)))},{draw.random()}" for _ in range(rows))
    (folder / "t.csv").write_text("\n".join(["text,label", *lines]) + "\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which two processes have trained a run, undisturbed, into `out`."""
    folder = tmp_path_factory.mktemp("ranks")
    write_table(folder)
    done = train(*TABLE, *SHORT, TWO, "hydra.run.dir=out", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "[W" not in done.stderr, "what torch prints of a rank goes into the rank's own log"
    return folder


def result(folder: Path, out: str = "out") -> dict[str, Any]:
    answer: dict[str, Any] = json.loads((folder / out / "result.json").read_text())
    return answer


def weights(folder: Path, out: str = "out") -> dict[str, Tensor]:
    return load_file(folder / out / "checkpoint/model.safetensors")


def weights_sha256(folder: Path, out: str = "out") -> str:
    return checkpoint.weights_sha256(folder / out / "checkpoint")


def rank_of(process: Process, rank: int) -> psutil.Process:
    """Waits until this rank of a command's training runs."""
    until = time.monotonic() + 150
    while time.monotonic() < until:
        for child in psutil.Process(process.pid).children(recursive=True):
            try:
                if any(file.path.endswith(f"/rank-{rank}.log") for file in child.open_files()):
                    return child
            except psutil.Error:
                continue
        time.sleep(0.05)
    raise AssertionError(f"no rank {rank}")


def await_checkpoint(training: Path, process: Process) -> None:
    while not any(training.glob("step-*")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def stored(folder: Path) -> TrackingConfig:
    return TrackingConfig(f"sqlite:///{folder}/mlruns/mlflow.db")


@pytest.mark.slow
def test_a_run_of_two_processes_is_made_again_exactly(folder: Path) -> None:
    done = finesweep("reproduce", result(folder)["run_id"], "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["verdict"] == "EXACT" and answer["changes"] == []
    assert {metric["step"] for metric in answer["metrics"]} == {
        10,
        20,
        30,
        40,
        None,
    }  # 320 rows, 2 x 8 a step
    assert list(answer["predictions"]) == ["eval"]


@pytest.mark.long
def test_another_number_of_processes_is_another_run_and_named_as_the_cause(folder: Path) -> None:
    done = finesweep(
        "reproduce",
        result(folder)["run_id"],
        "trainer.num_processes=1",
        "--json",
        "--tolerance=0",
        cwd=folder,
    )
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["verdict"]) == (1, "DIFFERENT")
    (change,) = answer["changes"]
    assert (change["what"], change["then"], change["now"]) == ("trainer.num_processes", 2, 1)


ADAPTERS = ("data=demo", "data.demo_rows=300", "peft=lora", "model.init=pretrained",
            "model.name_or_path=base/checkpoint", TWO, "trainer.num_train_epochs=2")  # fmt: skip
TAGGED = ("data=table", "data.path=tagged.jsonl", "data.problem_type=token_classification",
          "data.text_columns=[tokens]", "data.label_column=tags", "data.holdout=0.2",
          "trainer.num_processes=3")  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("arguments", [ADAPTERS, TAGGED], ids=["adapters", "three ranks, tokens"])
def test_what_ranks_train_is_made_again_exactly(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    if arguments is ADAPTERS:
        pytest.importorskip("peft")
        base = train("data=demo", "data.demo_rows=200", "hydra.run.dir=base", "predict=false", cwd=tmp_path)
        assert base.returncode == 0, base.stderr
    sentences = [["Paris" if n % k == 0 else "words" for n in range(1, 9)] for k in range(1, 9)] * 20
    lines = ({"tokens": one, "tags": ["B-LOC" if w == "Paris" else "O" for w in one]} for one in sentences)
    (tmp_path / "tagged.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = train(*arguments, "trainer.threads=1", "predict=false", "hydra.run.dir=out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    again = finesweep("reproduce", result(tmp_path)["run_id"], "--json", cwd=tmp_path)
    assert json.loads(again.stdout)["verdict"] == "EXACT", again.stderr


def test_the_ranks_predict_what_one_process_does_row_by_row(
    folder: Path, config: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    settings = config(*TABLE, *SHORT)
    inputs = load_inputs(settings)
    trainer = predictor(settings, inputs.task, inputs.tokenizer, folder / "out/checkpoint", tmp_path)
    trainer.compute_metrics = scorer = Scorer(inputs.task, inputs.names)
    metrics = trainer.evaluate(inputs.ready(trainer.model)[1])
    recorded = load_recorded_run(result(folder)["run_id"], stored(folder))
    assert recorded.record.results.predictions == {"eval": scorer.predictions_sha256}
    assert metrics["eval_rmse"] == result(folder)["value"]
    assert metrics["eval_loss"] == result(folder)["metrics"]["eval_loss"]
    kept, now = evaluated.load(folder / "out/checkpoint"), scorer.evaluated
    assert kept is not None and now is not None
    now = now.in_place(by_length(inputs.eval)[1])
    assert (list(kept.scores), list(kept.references)) == (list(now.scores), list(now.references))


@pytest.mark.slow
@pytest.mark.parametrize(
    "shortcuts", [pytest.param("[]", marks=pytest.mark.long), "[first_token,occurring_tokens,token_batches]"]
)
def test_a_step_is_the_same_in_two_processes_in_two_batches_and_in_one(folder: Path, shortcuts: str) -> None:
    one_step = ("trainer.num_train_epochs=0.05", "model.dropout=0", "optimizer.learning_rate=1e-2",
                "optimizer.name=sgd", "optimizer.warmup_steps=0", "optimizer.max_grad_norm=0",
                f"trainer.shortcuts={shortcuts}")  # fmt: skip
    made = {}
    for processes, batches, rows in ((2, 1, 8), (1, 2, 8), (1, 1, 16)):
        out = f"step-{processes}-{batches}{len(shortcuts)}"
        done = train(
            *TABLE, *one_step, f"trainer.per_device_train_batch_size={rows}", f"hydra.run.dir={out}",
            f"trainer.gradient_accumulation_steps={batches}", f"trainer.num_processes={processes}",
            cwd=folder,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        history = load_recorded_run(result(folder, out)["run_id"], stored(folder)).history
        made[processes, batches] = weights(folder, out), dict(history)
    expected, logged = made[1, 1]
    for tensors, history in made.values():
        assert all(allclose(tensors[name], expected[name], rtol=1e-5, atol=1e-6) for name in expected)
        for metric in ("loss", "grad_norm", "eval_loss", "eval_rmse"):
            assert history[metric, 1] == pytest.approx(logged[metric, 1], rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.long), 1])
def test_a_killed_rank_ends_the_run_at_once_and_it_resumes_to_the_same_weights(
    folder: Path, rank: int
) -> None:
    arguments = (*TABLE, *SHORT, TWO, f"hydra.run.dir=killed-{rank}")
    process = start(*arguments, cwd=folder)
    victim, other = rank_of(process, rank), rank_of(process, 1 - rank)
    await_checkpoint(folder / f"killed-{rank}/training", process)
    victim.kill()
    _, stderr = process.communicate(timeout=100)  # the ranks' own limit is half an hour
    assert process.returncode == 2
    assert f"error: a process of the training (rank {rank} of 2) was killed by SIGKILL" in stderr
    assert "Traceback" not in stderr
    assert not other.is_running() or other.status() == psutil.STATUS_ZOMBIE
    assert result(folder, f"killed-{rank}")["status"] == "KILLED"
    done = train(*arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert weights_sha256(folder, f"killed-{rank}") == weights_sha256(folder)
    assert not list((folder / f"killed-{rank}").glob("rank-*.log"))


@pytest.mark.long
def test_the_ranks_end_with_the_process_that_started_them(folder: Path) -> None:
    process = start(*TABLE, *SHORT, TWO, "trainer.num_train_epochs=500", "hydra.run.dir=orphans", cwd=folder)
    ranks = [rank_of(process, rank) for rank in range(2)]
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=100)
    psutil.wait_procs(ranks, timeout=60)
    assert not any(rank.is_running() and rank.status() != psutil.STATUS_ZOMBIE for rank in ranks)


@pytest.mark.long
def test_an_error_in_the_ranks_is_the_runs_own(folder: Path) -> None:
    process = start(*TABLE, *SHORT, TWO, "optimizer.learning_rate=1e30", "hydra.run.dir=diverged", cwd=folder)
    _, stderr = process.communicate(timeout=200)
    assert process.returncode == 1 and "LossNotFinite: loss is" in stderr
    assert result(folder, "diverged")["status"] == "FAILED"


SWEEP = ("-m", *TABLE, *SHORT, TWO, "hydra.sweeper.study.n_trials=1", "hydra.sweep.dir=sweep",
         "hydra.sweeper.params={}", "optimizer.learning_rate=choice(1e-3)")  # fmt: skip


@pytest.mark.long
def test_a_trial_whose_rank_is_killed_is_handed_back_and_its_retry_resumes(
    folder: Path, tmp_path: Path
) -> None:
    write_table(tmp_path)
    process = start(*SWEEP, cwd=tmp_path)
    victim = rank_of(process, 1)
    await_checkpoint(tmp_path / "sweep/trial-0000/training", process)
    victim.kill()
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert "a worker died" not in stderr  # it goes on by itself
    assert weights_sha256(tmp_path, "sweep/trial-0001") == weights_sha256(folder)
    runs = {run.info.run_name: run for run in _runs(tmp_path)}
    assert runs["trial-0000"].info.status == "KILLED"
    assert runs["trial-0001"].data.tags["finesweep.retry_of"] == "0"


@pytest.mark.long
def test_a_trial_that_is_stopped_saves_in_all_ranks_at_one_step_and_goes_on_from_there(
    folder: Path, tmp_path: Path
) -> None:
    write_table(tmp_path)
    process = start(*SWEEP, cwd=tmp_path)
    await_checkpoint(tmp_path / "sweep/trial-0000/training", process)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C: to the ranks, too
    _, stderr = process.communicate(timeout=150)
    assert process.returncode == 130, stderr
    done = train(*SWEEP, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert weights_sha256(tmp_path, "sweep/trial-0001") == weights_sha256(folder)
    assert _history(tmp_path, "trial-0001") == _history(folder)


@pytest.mark.long
def test_a_trial_that_pauses_goes_on_in_all_ranks_to_the_same_weights(folder: Path, tmp_path: Path) -> None:
    """The only trial is the first one at each rung, and nothing better is left."""
    write_table(tmp_path)
    done = train(*SWEEP, "hydra.sweeper.study.pruner=pause", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    runs = {run.info.run_name: run for run in _runs(tmp_path)}
    assert runs["trial-0000"].data.tags["finesweep.state"] == "PAUSED"
    (last,) = (name for name in runs if runs[name].info.status == "FINISHED" and name.startswith("trial-"))
    assert runs[last].data.tags["finesweep.continues"] == str(int(last[-4:]) - 1)
    assert weights_sha256(tmp_path, f"sweep/{last}") == weights_sha256(folder)


def _runs(folder: Path) -> Iterator[Any]:
    client = open_store(stored(folder))
    yield from client.search_runs([e.experiment_id for e in client.search_experiments()])


def _history(folder: Path, name: str | None = None) -> dict[tuple[str, int], float]:
    """The metrics that are results, of the first run or of one with this name."""
    (run_id,) = (
        [run.info.run_id for run in _runs(folder) if run.info.run_name == name]
        if name
        else [result(folder)["run_id"]]
    )
    history = load_recorded_run(run_id, stored(folder)).history
    return {key: value for key, value in history.items() if not re.match("train_|final_", key[0])}
