"""Time and energy of a round from a board's clocks: the arithmetic, by hand."""

import pytest

from edgepers.board.presets import PRESETS
from edgepers.config import Settings
from edgepers.plan.roofline import FORMULA, estimate_round
from edgepers.train.layout import MemoryLayout

NANO = PRESETS["orin-nano-8gb"]
SHAPE = {"parameters": 3_000_000_000, "quantized": 2_600_000_000, "blocks": 36}


def of(mode="MAXN_SUPER", preset=NANO, settings=None, **configuration):
    return estimate_round(
        preset, preset.mode(mode), settings or Settings(), **SHAPE, configuration=MemoryLayout(**configuration)
    )


def test_a_round_is_what_it_is_by_hand():
    compute, move = 0.5 * 2048 * 8 * 1.02e9, 0.8 * 3.199e9 * 2 * 16
    moved = 4.5 * 2.6e9 + 2 * 0.4e9
    work = {"batch": 16, "untold": 0, "rehearsal": 4, "generations": 3}
    found = of(settings=Settings(steps=100, **work))
    assert found.train == pytest.approx(100 * 2 * (20 * 128 * 6e9 / compute + 3 * moved / move))
    assert of(settings=Settings(epochs=25, **work)).train == pytest.approx(found.train)  # over 16 x (1 + 3) sets
    assert of(settings=Settings(steps=100, **work | {"untold": 1, "rehearsal": 3})).train == found.train
    assert found.synthesize == pytest.approx(64 * 2 * moved / move)
    assert found.guard == pytest.approx(3 * 96 * 128 * 6e9 / compute)
    assert found.seconds == found.train + found.synthesize + found.guard
    assert found.joules == pytest.approx(25 * found.seconds)


def test_less_work_takes_less_time():
    assert of(settings=Settings(epochs=15)).train == pytest.approx(of().train / 2)  # 16 sets: 30 passes by default
    assert of(resident_bytes=2 * SHAPE["quantized"]).train < of().train < of(recomputed_blocks=36).train
    assert of(micro_batch_tokens=128).train > of().train
    assert of(settings=Settings(generations=0)).synthesize == 0


def test_slower_modes_take_longer():
    for preset in PRESETS.values():
        times = [of(mode.name, preset).seconds for mode in preset.modes]
        assert times == sorted(times, reverse=True)


def test_the_formula_names_its_assumptions():
    for text in ("0.5 of the peak", "0.8 of the bandwidth", "4.5 bytes", "128 tokens", "upper bound"):
        assert text in FORMULA
