import pytest
import torch

from edgepers.device import clocks_mhz, is_out_of_memory, warm_up_4bit
from edgepers.errors import ModelError
from edgepers.model import loading


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (MemoryError(), True),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to allocate"
                " 9 bytes."
            ),
            True,
        ),
        (RuntimeError("unable to mmap 935952 bytes from file </a/b>: Cannot allocate memory (12)"), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("NVML_SUCCESS == r INTERNAL ASSERT FAILED"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_memory_that_ran_out_is_told_from_other_errors(error, is_it):
    assert is_out_of_memory(error) == is_it


def test_clocks_are_the_fastest_cores_and_the_gpus(tmp_path):
    assert clocks_mhz(tmp_path) == {}
    clocks = {
        "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "729600",
        "devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "1510400",
        "class/devfreq/17000000.gpu/cur_freq": "624750000",
        "class/devfreq/15340000.vic/cur_freq": "1",
    }
    for name, value in clocks.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(f"{value}\n")
    assert clocks_mhz(tmp_path) == {"cpu": 1510.4, "gpu": 624.8}


def test_one_small_4_bit_layer_is_launched_before_a_model_on_a_gpu(monkeypatch):
    warm_up_4bit(torch.device("cpu"))
    launched = []

    def refuse(device):
        launched.append(device.type)
        raise RuntimeError("no kernel image is available for execution on the device")

    monkeypatch.setattr(loading, "warm_up_4bit", refuse)
    with pytest.raises(ModelError, match=r"do not launch on this GPU \(no kernel image .*edgepers doctor"):
        loading.load_pretrained(None, 4, torch.device("cuda", 0))
    assert launched == ["cuda"]
    loading.load_pretrained(None, 4, torch.device("cpu"))
    assert launched == ["cuda"]
