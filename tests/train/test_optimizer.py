import pytest
import torch

from edgepers.config import Settings
from edgepers.errors import UsageError
from edgepers.train.checkpoint import Progress, load_checkpoint, save_checkpoint
from edgepers.train.optimizer import load_state, make_optimizer, moment_bytes, state_of
from edgepers.train.recipe import Recipe
from edgepers.train.trainer import train
from tests.train.test_checkpoint import PAIRS

SHAPES = {"large": (64, 129), "small": (8, 16)}  # 8,256 numbers, of which the last block of 256 is not full; and 128


def weights():
    torch.manual_seed(0)
    return {name: torch.nn.Parameter(torch.randn(shape)) for name, shape in SHAPES.items()}


def steps(optimizer, over, seeds):
    """A gradient of each seed."""
    for seed in seeds:
        drawn = torch.Generator().manual_seed(seed)
        for weight in over.values():
            weight.grad = torch.randn(weight.shape, generator=drawn) + weight.detach()
        optimizer.step()


@pytest.mark.parametrize("bits", [32, 8])
def test_bytes_of_moments_are_those_that_the_optimizer_holds(bits):
    over = weights()
    optimizer = make_optimizer(over, 1e-3, bits)
    steps(optimizer, over, range(1))
    held = sum(
        value.nbytes for weight in over.values() for key, value in state_of(optimizer, weight).items() if key != "step"
    )
    assert held == sum(moment_bytes(weight.numel(), bits) for weight in over.values())
    assert held == {32: 8 * (8256 + 128), 8: 2 * (8256 + 4 * 33) + 8 * 128}[bits]


@pytest.mark.parametrize("bits", [32, 8])
def test_a_checkpoint_goes_on_with_the_same_bits(bits, tmp_path):
    whole, begun, resumed = weights(), weights(), weights()
    steps(make_optimizer(whole, 1e-2, bits), whole, range(6))
    first = make_optimizer(begun, 1e-2, bits)
    steps(first, begun, range(3))
    save_checkpoint(tmp_path / "one", "run", Progress(step=3), begun, first)
    second = make_optimizer(resumed, 1e-2, bits)
    assert load_checkpoint(tmp_path / "one", "run", resumed, second).step == 3
    steps(second, resumed, range(3, 6))
    assert all(torch.equal(resumed[name], whole[name]) for name in SHAPES)
    tables = [key for weight in begun.values() for key in state_of(first, weight) if "qmap" in key]
    assert not tables  # the same for every run: not written to the flash again and again


def test_eight_bits_stay_near_thirty_two():
    exact, near = weights(), weights()
    start = {name: weight.detach().clone() for name, weight in exact.items()}
    steps(make_optimizer(exact, 1e-2, 32), exact, range(40))
    steps(make_optimizer(near, 1e-2, 8), near, range(40))
    torch.testing.assert_close(near["small"], exact["small"], rtol=1e-4, atol=1e-5)  # few numbers keep 32 bits
    moved = (exact["large"] - start["large"]).norm()
    assert 0 < (near["large"] - exact["large"]).norm() < 0.15 * moved


def test_the_state_of_another_kind_is_refused():
    over = weights()
    eight, plain = make_optimizer(over, 1e-3, 8), make_optimizer(over, 1e-3, 32)
    steps(eight, over, range(1))
    with pytest.raises(KeyError):
        load_state(plain, over["large"], state_of(eight, over["large"]))


def test_a_gpu_has_eight_bits_unless_told_otherwise():
    chosen = {
        (name, on_cpu): Recipe.of(Settings(optimizer=name), on_cpu=on_cpu).optimizer_bits
        for name in ("auto", "adamw", "adamw8bit")
        for on_cpu in (True, False)
    }
    assert {key for key, bits in chosen.items() if bits == 8} == {
        ("auto", False),
        ("adamw8bit", True),
        ("adamw8bit", False),
    }
    with pytest.raises(UsageError, match="--optimizer 'sgd' is unknown; choose auto, adamw, adamw8bit"):
        Settings(optimizer="sgd")


def test_an_adapter_learns_with_eight_bits_as_with_thirty_two(llm, tmp_path):
    losses = {}
    for bits in (32, 8):
        recipe = Recipe(
            steps=8, batch=4, learning_rate=2e-3, rank=16, seed=1, targets="all-linear", optimizer_bits=bits
        )
        losses[bits] = train(llm, PAIRS, tmp_path / str(bits), recipe).last_loss
    assert losses[8] != losses[32]  # ranks of 16: weights of 4,096 numbers and more are in 8 bits
    assert losses[8] == pytest.approx(losses[32], rel=0.05)
