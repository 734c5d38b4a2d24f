import sys

import pytest
import torch

from edgepers.errors import UsageError
from edgepers.train.kernels import check_kernels
from edgepers.train.recipe import Recipe

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_what_nobody_asks_for_is_not_looked_for():
    check_kernels(Recipe(steps=1), CPU)


@pytest.mark.parametrize("option", ["liger", "fused"])
def test_without_a_gpu_is_one_clear_line(option):
    with pytest.raises(
        UsageError, match=rf"^--{option} needs a GPU, and this model runs on the CPU; give --no-{option}$"
    ):
        check_kernels(Recipe(steps=1, **{option: True}), CPU)


@pytest.mark.parametrize(
    ("option", "module", "cure"),
    [
        ("liger", "liger_kernel.ops.rms_norm", r"pip install 'edgepers\[liger\]'"),
        ("fused", "triton", r"pip install triton"),
    ],
)
def test_not_installed_is_one_clear_line(option, module, cure, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=rf"--{option} needs .*{cure}, or give --no-{option}"):
        check_kernels(Recipe(steps=1, **{option: True}), GPU)
