import os
import signal
import time

import pytest
import torch

from edgepers.errors import BudgetError, MicroBatchHalvedError
from edgepers.train import step as step_module
from edgepers.train import trainer
from edgepers.train.checkpoint import Progress, load_checkpoint, save_checkpoint
from edgepers.train.recipe import Recipe
from edgepers.train.trainer import train

PAIRS = [
    ("What is my dog called?", "Your dog is called Moon."),
    ("Where are my keys?", "Behind the door."),
    ("Hi", "Hello, Emily!"),
]
UNTOLD = [("What is my cat called?", "I don't know that yet."), ("Who is my dentist?", "You have not told me that.")]
GENERAL = [("Name two colours.", "Red and blue."), ("What is bread?", "Food.")]
RECIPE = Recipe(steps=8, batch=2, learning_rate=2e-3, rank=4, seed=1, rehearsal=1)


class Stopped(Exception):
    pass


def run(llm, folder, checkpoint, stop_after=None, recipe=RECIPE):
    folder.mkdir(exist_ok=True)
    losses = []

    def told(step):
        losses.append(step.loss)
        if step.step == stop_after:
            raise Stopped

    result = train(llm, PAIRS, folder, recipe, general=GENERAL, untold=UNTOLD, checkpoint=checkpoint, on_step=told)
    return losses, result, (folder / "adapter_model.safetensors").read_bytes()


@pytest.mark.parametrize("top", [0, 3])
@pytest.mark.parametrize("stop_after", [1, 5])
def test_an_interrupted_run_goes_on_to_the_same_weights_to_the_bit(llm, tmp_path, monkeypatch, stop_after, top):
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)
    beside = {"rehearsal": 1, "untold": 1, "word_dropout": 0.4}
    recipe = Recipe(steps=8, batch=2, learning_rate=2e-3, rank=4, seed=1, top=top, **beside)
    losses, result, weights = run(llm, tmp_path / "whole", None, recipe=recipe)
    with pytest.raises(Stopped):
        run(llm, tmp_path / "made", tmp_path / "checkpoint", stop_after, recipe)
    rest, again, same = run(llm, tmp_path / "made", tmp_path / "checkpoint", recipe=recipe)
    assert rest == losses[stop_after:]
    assert same == weights
    assert (again.tokens, again.first_loss, again.last_loss) == (result.tokens, result.first_loss, result.last_loss)


def test_another_runs_checkpoint_is_not_continued(llm, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(Stopped):
        run(llm, tmp_path / "made", tmp_path / "checkpoint", 5)
    losses, _, _ = run(
        llm,
        tmp_path / "other",
        tmp_path / "checkpoint",
        recipe=Recipe(steps=3, batch=2, learning_rate=2e-3, rank=4, seed=2),
    )
    assert len(losses) == 3


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_broken_checkpoint_starts_again(tmp_path, content):
    (tmp_path / "checkpoint").write_bytes(content)
    assert load_checkpoint(tmp_path / "checkpoint", "run", {}, None) is None


def test_killed_while_saving_the_earlier_checkpoint_is_whole(tmp_path):
    """A child saves without end and is killed; what lies there is one of its saves, whole."""
    weights = {"a": torch.nn.Parameter(torch.zeros(20_000))}
    for delay in (0.05, 0.11, 0.17):  # 20,000 numbers: few enough that torch starts no thread, which a fork would lack
        child = os.fork()
        if not child:
            optimizer = torch.optim.AdamW(weights.values())
            number = 0
            while True:
                number += 1
                with torch.no_grad():
                    weights["a"].fill_(number)
                save_checkpoint(tmp_path / "c", "run", Progress(step=number), weights, optimizer)
        while not (tmp_path / "c").exists():
            time.sleep(0.01)
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found = load_checkpoint(tmp_path / "c", "run", weights, torch.optim.AdamW(weights.values()))
        assert found is not None and found.step > 0
        assert (weights["a"] == found.step).all()


def test_out_of_memory_goes_on_from_the_last_step_with_half_the_micro_batch(llm, tmp_path, monkeypatch):
    told, seen = [], []
    real = step_module.backward

    def backward(*args, micro_batch_tokens, step, **kwargs):
        seen.append((step, micro_batch_tokens))
        if step == 3 and micro_batch_tokens > 300:
            raise RuntimeError(
                "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to allocate"
                " 9 bytes."
            )
        return real(*args, micro_batch_tokens=micro_batch_tokens, step=step, **kwargs)

    monkeypatch.setattr(trainer, "backward", backward)
    (tmp_path / "made").mkdir()
    for _ in range(2):
        with pytest.raises(
            MicroBatchHalvedError, match="ran out of memory at step 4 of 8; do it again: it goes on from there"
        ):
            train(llm, PAIRS, tmp_path / "made", RECIPE, checkpoint=tmp_path / "c", on_step=told.append)
    result = train(llm, PAIRS, tmp_path / "made", RECIPE, checkpoint=tmp_path / "c", on_step=told.append)
    assert [step.step for step in told] == list(range(1, 9))
    assert result.steps == 8
    assert seen[3:6] == [(3, 1024), (3, 512), (3, 256)]


def test_out_of_memory_with_the_least_micro_batch_or_without_a_checkpoint_cannot_be_gone_on_from(
    llm, tmp_path, monkeypatch
):
    def none_left(*_, **__):
        raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")

    monkeypatch.setattr(trainer, "backward", none_left)
    halved = []
    while len(halved) < 10:
        with pytest.raises(BudgetError, match="ran out of memory at step 1 of 8") as error:
            train(llm, PAIRS, tmp_path, RECIPE, checkpoint=tmp_path / "c")
        if not isinstance(error.value, MicroBatchHalvedError):
            break
        halved.append(error.value.micro_batch_tokens)
    assert halved == [512, 256, 128, 64]
    assert str(error.value).endswith("; take a smaller model")
    with pytest.raises(BudgetError) as error:
        train(llm, PAIRS, tmp_path, RECIPE)
    assert not isinstance(error.value, MicroBatchHalvedError)


def test_out_of_memory_before_the_first_step_is_one_line_too(llm, tmp_path, monkeypatch):
    def none_left(*_, **__):
        raise MemoryError

    monkeypatch.setattr(trainer, "Rehearsal", none_left)
    with pytest.raises(BudgetError, match="before its first step; take a smaller model"):
        train(llm, PAIRS, tmp_path, RECIPE, checkpoint=tmp_path / "c")
    assert not (tmp_path / "c").exists()
    assert llm.answer(["Hi"], max_new_tokens=2)
