"""Every check: fine on this machine, and what it says when the thing it looks at is broken."""

import builtins
import importlib.metadata
import json
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

import edgepers.ops
from edgepers import doctor
from edgepers.board.reading import storage_of
from edgepers.cli import main
from edgepers.doctor import (
    CHECKS,
    Finding,
    Subject,
    disk,
    examine,
    findings_text,
    gpu,
    machine,
    report,
    report_text,
    software,
)
from edgepers.errors import EdgepersError
from edgepers.meter import find as meters
from edgepers.meter.source import Found
from edgepers.ops import native
from edgepers.state.buffer import Buffer
from tests.board.trees import board_tree, disk_tree, write


def one(name, state=None, root=Path("/nowhere")):
    return CHECKS[name][0](Subject(state, root))


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def fake_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "Orin")


def test_nothing_fails_here_and_each_check_goes_by_its_name(tmp_path):
    with Buffer(tmp_path, 64_000):
        pass
    findings = examine(tmp_path)
    assert [finding.name for finding in findings] == list(CHECKS)
    assert [finding for finding in findings if finding.status == "fail"] == []
    assert one("buffer", tmp_path).found == "whole, with 0 sets"
    assert [
        path.name for path in tmp_path.iterdir() if path.name.startswith(".")
    ] == []  # what was tried is cleared away


def test_a_missing_package_is_named(monkeypatch):
    def version(name):
        if name == "peft":
            raise importlib.metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert one("packages") == Finding("packages", "fail", "missing: peft", "pip install peft")


def test_a_32_bit_python_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "maxsize", 2**31 - 1)
    assert one("python").status == "fail"


def test_a_torch_that_cannot_use_the_gpu_that_is_there_fails(monkeypatch, tmp_path, no_gpu):
    assert one("torch").status == "ok"
    board_tree(tmp_path, "orin-nano-8gb")
    monkeypatch.setattr(torch.version, "cuda", "12.6")
    found = one("torch", root=tmp_path)
    assert found.status == "fail" and "cannot use the NVIDIA GPU that /etc/nv_tegra_release shows" in found.found
    assert "--index-url https://pypi.jetson-ai-lab.io/jp6/cu126 torch" in found.cure
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(gpu, "_wheel", lambda: "manylinux_2_28_aarch64")
    assert "a CPU build (manylinux_2_28_aarch64) beside the NVIDIA GPU" in one("torch", root=tmp_path).found
    (tmp_path / "seven").mkdir()
    assert "download.pytorch.org" in one("torch", root=board_tree(tmp_path / "seven", "orin-agx-64gb")).cure
    (tmp_path / "desktop" / "dev").mkdir(parents=True)
    (tmp_path / "desktop" / "dev" / "nvidia0").touch()
    assert "from pytorch.org" in one("torch", root=tmp_path / "desktop").cure


@pytest.mark.parametrize(
    ("says", "cure"),
    [
        ("libcudss.so.0: cannot open shared object file: No such file or directory", "nvidia-cudss-cu12"),
        ("libcusparseLt.so.0: cannot open shared object file: No such file or directory", "nvidia-cusparselt-cu12"),
        (
            "libother.so.3: cannot open shared object file: No such file or directory",
            "the package that has libother.so",
        ),
        ("something else", "from pytorch.org"),
    ],
)
def test_a_torch_that_lacks_a_library_is_cured_by_that_library(monkeypatch, says, cure):
    real = builtins.__import__

    def refuse(name, *args, **options):
        if name == "torch":
            raise ImportError(says)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    found = one("torch")
    monkeypatch.undo()
    assert found.status == "fail" and says in found.found and cure in found.cure


@pytest.mark.parametrize(
    ("codes", "capability", "status", "says"),
    [
        (["sm_80", "sm_90", "sm_100", "sm_110", "sm_120", "compute_120"], (8, 7), "warn", "not to on JetPack 6"),
        (["sm_50", "sm_80", "sm_86", "sm_90"], (8, 7), "warn", "reported to launch on JetPack 7"),
        (["sm_80", "sm_87"], (8, 7), "ok", "the GPU is sm_87"),
        (["sm_90", "compute_80"], (8, 7), "ok", "PTX for it, once"),
        (["sm_90", "compute_90"], (8, 7), "warn", "by the list none of it runs"),
        (["sm_80", "sm_90"], (8, 9), "warn", "made for a smaller one"),
        (["sm_110"], (11, 0), "ok", "the GPU is sm_110"),
        (["sm_80", "sm_90a"], (12, 0), "warn", "by the list none of it runs"),
        (["gfx90a"], (8, 7), "warn", "by the list none of it runs"),
    ],
)
def test_a_list_of_code_is_a_warning_and_a_kernel_decides(monkeypatch, fake_gpu, codes, capability, status, says):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capability)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: codes)
    found = one("gpu code")
    assert (found.status, bool(found.cure)) == (status, status == "warn") and says in found.found


def test_no_gpu_has_no_code(no_gpu):
    assert one("gpu code").status == "ok"


def test_a_container_without_the_gpu_of_its_machine_fails(tmp_path):
    assert one("container", root=tmp_path).found == "none"
    (tmp_path / ".dockerenv").touch()
    assert one("container", root=tmp_path).found == "one without a GPU"
    board_tree(tmp_path, "orin-nano-8gb")
    found = one("container", root=tmp_path)
    assert (found.status, found.cure) == ("fail", "start it with docker run --runtime nvidia")
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "nvmap").touch()
    assert one("container", root=tmp_path).status == "ok"


def test_a_kernel_that_does_not_launch_or_is_wrong_fails(monkeypatch, fake_gpu):
    def refuse(*args, **options):
        raise RuntimeError("no kernel image is available\nmore")

    monkeypatch.setattr(torch, "arange", refuse)
    found = one("torch")
    assert found.status == "fail" and "does not launch on Orin (no kernel image is available)" in found.found
    monkeypatch.setattr(torch, "arange", lambda *args, **options: torch.zeros(3))
    assert "summed to 0" in one("torch").found


def test_ops_say_what_runs_what_is_not_built_and_what_is_broken(monkeypatch, no_gpu):
    assert "score_tokens" in one("ops").found
    monkeypatch.setattr(native, "has", lambda kind: False)
    monkeypatch.setattr(edgepers.ops, "backends", lambda device: {"score_tokens": "torch"})
    found = one("ops")
    assert found.status == "ok" and "not built" in found.found
    assert found.cure.startswith("install a C++ compiler and reinstall")

    def broken(device):
        raise EdgepersError("score_tokens: the cpp kernel is off by 1; rebuild csrc/")

    monkeypatch.setattr(edgepers.ops, "backends", broken)
    (found,) = [finding for finding in examine() if finding.name == "ops"]
    assert found.status == "fail" and "off by 1" in found.found and found.cure


def test_4_bits_that_come_back_wrong_fail(monkeypatch, no_gpu):
    import bitsandbytes.functional

    monkeypatch.setattr(bitsandbytes.functional, "dequantize_4bit", lambda packed, state: torch.zeros(256, 256))
    found = one("nf4")
    assert found.status == "fail" and "COMPUTE_CAPABILITY=87" in found.cure


def test_a_4_bit_layer_without_a_gradient_fails(monkeypatch, no_gpu):
    from bitsandbytes.nn.modules import Linear4bit

    monkeypatch.setattr(Linear4bit, "forward", lambda self, rows: rows.detach().clone().requires_grad_())
    assert one("4-bit gradient").found == "on cpu there is none"
    monkeypatch.setattr(Linear4bit, "forward", lambda self, rows: 3 * rows)
    assert "is off by" in one("4-bit gradient").found
    assert one("4-bit gradient").status == "fail"


def test_bitsandbytes_that_fails_when_it_quantizes_is_told_with_its_cure(monkeypatch, no_gpu):
    import bitsandbytes.functional

    def refuse(*args, **options):
        raise RuntimeError("no kernel image is available for execution on the device\nmore")

    monkeypatch.setattr(bitsandbytes.functional, "quantize_4bit", refuse)
    found = next(finding for finding in examine() if finding.name == "nf4")
    assert found.status == "fail" and "no kernel image" in found.found and "-DCOMPUTE_CAPABILITY=87" in found.cure


def test_triton_matters_only_with_a_gpu_and_wants_a_compiler(monkeypatch, no_gpu):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "3")
    monkeypatch.setattr(software, "find_spec", lambda name: object())
    monkeypatch.setattr(software.shutil, "which", lambda name: None)
    assert one("triton").status == "ok"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert (one("triton").status, one("triton").cure) == ("warn", "sudo apt install gcc")
    monkeypatch.setattr(software.shutil, "which", lambda name: "/usr/bin/gcc")
    assert one("triton").status == "ok"
    monkeypatch.setattr(software, "find_spec", lambda name: None)
    assert one("triton").status == "warn"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert one("triton").status == "ok"


def test_little_memory_is_a_warning(monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=10**8, total=8 * 10**9))
    found = one("memory")
    assert found.status == "warn" and "100.0 MB of 8.00 GB available" in found.found and found.cure


def test_a_disk_that_is_full_or_not_written_to(monkeypatch, tmp_path):
    state = tmp_path / "to" / "be"
    assert one("disk", state).found.startswith(f"{tmp_path}: ")
    assert not state.exists()
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda folder: SimpleNamespace(free=5000, total=10**11))
    assert one("disk", state).status == "warn"

    def refuse(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    found = one("disk", state)
    assert found.status == "fail" and "No space left on device" in found.found and found.cure


def test_a_damaged_buffer_fails_with_its_cure(tmp_path):
    assert one("buffer").status == one("buffer", tmp_path).status == "ok"
    (tmp_path / "buffer.db").write_bytes(b"nonsense" * 1000)
    found = one("buffer", tmp_path)
    assert found.status == "fail" and "not a readable buffer" in found.found and "move the folder away" in found.cure


class Rails:
    name, counts, totals = "ina3221", False, {"VDD_IN": ("VDD_IN",)}

    def __init__(self) -> None:
        self.closed = False

    def read(self):
        return {"VDD_IN": 6.25, "VDD_SOC": 1.0}

    def close(self):
        self.closed = True


@pytest.mark.parametrize(
    ("found", "status", "says"),
    [
        (Found([], [], []), "ok", "no meter here: joules are null in reports"),
        (Found([Rails()], [], []), "ok", "ina3221: VDD_IN 6.2 W, VDD_SOC 1.0 W"),
        (
            Found([], ["rapl: may be read by root alone"], ["sudo chmod a+r x"]),
            "warn",
            "rapl: may be read by root alone",
        ),
    ],
    ids=["none", "rails", "forbidden"],
)
def test_the_meter_of_energy_is_told_with_the_cure_where_it_may_not_be_read(monkeypatch, found, status, says):
    monkeypatch.setattr(meters, "find_sources", lambda _: found)
    assert one("energy") == Finding("energy", status, says, "; ".join(found.cures))
    assert all(one.closed for one in found.sources)


def test_rails_without_a_known_whole_say_that_joules_are_null(monkeypatch):
    rails = Rails()
    rails.totals = {}
    monkeypatch.setattr(meters, "find_sources", lambda _: Found([rails], [], []))
    assert "no sum of them is known to be the whole" in one("energy").found


def test_a_clock_in_the_past_fails(monkeypatch):
    past = time.gmtime(0)
    monkeypatch.setattr(machine.time, "gmtime", lambda: past)
    assert one("clock").status == "fail" and "1970-01-01" in one("clock").found


def test_a_check_that_breaks_down_is_a_failure_and_the_others_are_still_told(monkeypatch, capsys):
    for name in (
        "torch",
        "bitsandbytes",
        "bitsandbytes.functional",
    ):  # a torch that does not import, as without libcudss
        monkeypatch.setitem(sys.modules, name, None)
    assert set(report(examine())["failed"]) >= {"torch", "gpu code", "nf4", "4-bit gradient"}
    monkeypatch.undo()
    fakes = {"a": (lambda subject: 1 / 0, "mend it"), "b": (lambda subject: Finding("b", "ok", "fine"), "")}
    monkeypatch.setattr(doctor, "CHECKS", fakes)
    assert main(["doctor", "--json"]) == 1
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert (found["ok"], found["failed"], found["checks"][0]["cure"]) == (False, ["a"], "mend it")
    assert "ZeroDivisionError: division by zero" in found["checks"][0]["found"]
    assert err == "edgepers: 1 of 2 checks failed: a\n"
    fakes.pop("a")
    assert main(["doctor"]) == 0
    assert "b      ok      fine" in capsys.readouterr().out


def test_the_table_is_wrapped_with_each_cure_below_what_it_cures():
    text = findings_text([Finding("one", "fail", "word " * 20, "do " * 20), Finding("two", "ok", "fine")], 60)
    assert max(map(len, text.splitlines())) <= 60
    assert text.index("word") < text.index("cure: do") < text.index("two")


def test_a_board_says_what_it_is(tmp_path):
    found = one("board", root=board_tree(tmp_path, "orin-nano-8gb"))
    assert found.status == "ok"
    for text in (
        "Orin Nano",
        "Jetson Linux R36.4.3",
        "7.99 GB",
        "CPU at most 1728 MHz",
        "GPU at most 612 MHz",
        "48 °C (cpu-thermal)",
    ):
        assert text in found.found
    assert one("board").found == "it says nothing of itself"


def test_a_power_mode_below_the_best_is_told_with_the_command(tmp_path):
    nano = board_tree(tmp_path / "nano", "orin-nano-8gb")
    assert one("power mode", root=nano) == Finding("power mode", "warn", "15W, below MAXN_SUPER", "sudo nvpmodel -m 2")
    write(nano, "var/lib/nvpmodel/status", "pmode:0002")
    assert one("power mode", root=nano) == Finding("power mode", "ok", "MAXN_SUPER")
    write(nano, "etc/nvpmodel.conf", "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=1 NAME=7W >\n")
    found = one("power mode", root=nano)
    assert (
        found.status == "warn"
        and "up to MAXN_SUPER, are not set up" in found.found
        and "nvpmodel_p3767_0003_super.conf" in found.cure
    )
    assert one("power mode", root=board_tree(tmp_path / "agx", "orin-agx-64gb")).status == "ok"
    assert one("power mode").status == "ok"


def test_a_board_that_has_just_started_is_warned(tmp_path):
    board_tree(tmp_path, "orin-nano-8gb")
    assert one("cold boot", root=tmp_path).status == "ok"
    write(tmp_path, "proc/uptime", "65.12 300.0")
    assert one("cold boot", root=tmp_path).status == "warn" and "256 x 256" in one("cold boot", root=tmp_path).cure
    write(tmp_path, "proc/uptime", "86400.0 300.0")
    assert one("cold boot", root=tmp_path).found == "on for 24.0 h"


@pytest.mark.parametrize(("release", "status"), [("4.3", "ok"), ("4.7", "warn"), ("5.0", "warn")])
def test_releases_whose_driver_refuses_memory_are_known(tmp_path, release, status):
    assert one("nvmap", root=tmp_path).found == "no Jetson Linux here"
    write(tmp_path, "etc/nv_tegra_release", f"# R36 (release), REVISION: {release}, GCID: 1")
    found = one("nvmap", root=tmp_path)
    assert (found.status, "error 12" in found.found, "expandable_segments" in found.cure) == (
        status,
        status == "warn",
        status == "warn",
    )


def test_memory_in_small_pieces_is_told_on_a_board(tmp_path):
    assert one("free pieces", root=tmp_path).status == "ok"
    write(
        tmp_path,
        "proc/buddyinfo",
        "Node 0, zone      DMA      1      0 0 0 0 0 0 0 0 0 0\nNode 0, zone   Normal  90000 9000 0 0 0 0 0 0 0 0 2\n",
    )
    assert one("free pieces", root=tmp_path).status == "ok"  # any other machine
    board_tree(tmp_path, "orin-nano-8gb")
    found = one("free pieces", root=tmp_path)
    assert found.status == "warn" and "8.4 MB of 450." in found.found and "compact_memory" in found.cure
    write(tmp_path, "proc/buddyinfo", "Node 0, zone   Normal  90000 9000 0 0 0 0 0 0 0 0 900\n")
    assert one("free pieces", root=tmp_path).status == "ok"


def test_little_swap_matters_on_a_small_board(tmp_path, monkeypatch):
    monkeypatch.setattr(psutil, "swap_memory", lambda: SimpleNamespace(total=10**9))
    assert one("swap", root=tmp_path).status == "ok"
    assert one("swap", root=board_tree(tmp_path / "agx", "orin-agx-64gb")).status == "ok"
    found = one("swap", root=board_tree(tmp_path / "nano", "orin-nano-8gb"))
    assert found.status == "warn" and "mkswap" in found.cure


def test_a_state_on_an_sd_card_is_told(tmp_path, monkeypatch):
    disk_tree(tmp_path, "179:1", "platform/3400000.mmc/mmc_host/mmc0/mmc0:aaaa/block/mmcblk1/mmcblk1p1", "SD")
    monkeypatch.setattr(disk, "storage_of", lambda folder, root: storage_of(folder, root, os.makedev(179, 1)))
    found = one("storage", tmp_path, tmp_path)
    assert found.status == "warn" and "lies on an SD card" in found.found and "NVMe" in found.cure


def test_numpy_2_is_told_on_jetpack_6(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.1")
    assert one("packages", root=board_tree(tmp_path, "orin-nano-8gb")).cure == "pip install 'numpy<2'"


def test_a_report_holds_nothing_private(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("getpass.getuser", lambda: "emily")
    monkeypatch.setattr("socket.gethostname", lambda: "emilys-board")
    monkeypatch.setattr(Path, "home", lambda: Path("/home/emily"))
    findings = [
        Finding("disk", "warn", "/home/emily/my state: 1 GB free; /mnt/emily/x too, of emily on emilys-board", "cure"),
        Finding("torch", "fail", "cannot use the NVIDIA GPU that /etc/nv_tegra_release shows"),
    ]
    text = report_text(findings, Path("/home/emily/my state"))
    assert "emily" not in text and "my state" not in text
    assert "/etc/nv_tegra_release" in text and "1 GB free" in text
    monkeypatch.undo()
    private = tmp_path / "a secret name"
    private.mkdir()
    fakes = {"disk": CHECKS["disk"], "buffer": CHECKS["buffer"], "storage": CHECKS["storage"]}
    monkeypatch.setattr(doctor, "CHECKS", fakes)
    assert main(["doctor", "--report", "--state", str(private)]) == 0
    out = capsys.readouterr().out
    assert "secret" not in out and out.startswith("edgepers ") and "disk: ok: <path>: " in out
    assert main(["doctor", "--report", "--json", "--state", str(private)]) == 0
    assert "secret" not in json.loads(capsys.readouterr().out)["report"]
