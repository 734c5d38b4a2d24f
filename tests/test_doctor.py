"""Every check: fine on this machine, and what it says when the thing it looks at is broken."""

import importlib.metadata
import json
import os
import sys
import time
from types import SimpleNamespace

import psutil
import pytest
import torch

import edgepers.ops
from edgepers import device, doctor
from edgepers.cli import main
from edgepers.doctor import CHECKS, Finding, examine, findings_text, report
from edgepers.errors import EdgepersError
from edgepers.meter import source
from edgepers.meter.source import Found
from edgepers.ops import native
from edgepers.select.buffer import Buffer


def one(name, state=None):
    return CHECKS[name][0](state)


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
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []  # what was tried is cleared away


def test_a_missing_package_is_named(monkeypatch):
    def version(name):
        if name == "peft":
            raise importlib.metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert one("packages") == Finding("packages", "fail", "missing: peft", "pip install peft")


def test_a_32_bit_python_is_refused(monkeypatch):
    monkeypatch.setattr(doctor.sys, "maxsize", 2**31 - 1)
    assert one("python").status == "fail"


def test_a_torch_that_cannot_use_the_gpu_that_is_there_fails(monkeypatch, tmp_path, no_gpu):
    release = tmp_path / "nv_tegra_release"
    monkeypatch.setattr(doctor, "NVIDIA", (release,))
    assert one("torch").status == "ok"
    release.touch()
    found = one("torch")
    assert found.status == "fail" and "cannot use the NVIDIA GPU" in found.found and "NVIDIA's own index" in found.cure


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


def test_triton_matters_only_with_a_gpu(monkeypatch, no_gpu):
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    assert one("triton").status == "ok"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert one("triton").status == "warn"


def test_little_memory_is_a_warning(monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=10**8, total=8 * 10**9))
    found = one("memory")
    assert found.status == "warn" and "100.0 MB of 8.00 GB available" in found.found and found.cure


def test_a_disk_that_is_full_or_not_written_to(monkeypatch, tmp_path):
    state = tmp_path / "to" / "be"
    assert one("disk", state).found.startswith(f"{tmp_path}: ")
    assert not state.exists()
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: SimpleNamespace(free=5000))
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
        (Found([Rails()], [], []), "ok", "ina3221: VDD_IN 6.2 W, VDD_SOC 1.0 W; power mode 15W"),
        (Found([], ["rapl: may be read by root alone"], ["sudo chmod a+r x"]), "warn", "rapl: may be read by root alone"),
    ],
    ids=["none", "rails", "forbidden"],
)
def test_the_meter_of_energy_is_told_with_the_cure_where_it_may_not_be_read(monkeypatch, found, status, says):
    monkeypatch.setattr(source, "find_sources", lambda: found)
    monkeypatch.setattr(device, "power_mode", lambda: "15W")
    assert one("energy") == Finding("energy", status, says, "; ".join(found.cures))
    assert all(one.closed for one in found.sources)


def test_rails_without_a_known_whole_say_that_joules_are_null(monkeypatch):
    rails = Rails()
    rails.totals = {}
    monkeypatch.setattr(source, "find_sources", lambda: Found([rails], [], []))
    assert "no sum of them is known to be the whole" in one("energy").found


def test_a_clock_in_the_past_fails(monkeypatch):
    past = time.gmtime(0)
    monkeypatch.setattr(doctor.time, "gmtime", lambda: past)
    assert one("clock").status == "fail" and "1970-01-01" in one("clock").found


def test_a_check_that_breaks_down_is_a_failure_and_the_others_are_still_told(monkeypatch, capsys):
    for name in ("torch", "bitsandbytes", "bitsandbytes.functional"):  # a torch that does not import, as without libcudss
        monkeypatch.setitem(sys.modules, name, None)
    failed = report(examine())["failed"]
    assert failed == ["torch", "ops", "nf4", "4-bit gradient"] or set(failed) >= {"torch", "nf4", "4-bit gradient"}
    monkeypatch.undo()
    fakes = {"a": (lambda state: 1 / 0, "mend it"), "b": (lambda state: Finding("b", "ok", "fine"), "")}
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
