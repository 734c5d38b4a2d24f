"""Meters as the kernel shows them: synthetic trees of the boards that edgepers is for."""

import os
import sys
from types import SimpleNamespace

import pytest

from edgepers.meter import ina3221, nvml, rapl
from edgepers.meter.find import find_sources

NANO = {"1-0040": ["VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"]}  # an Orin NX has the same
AGX = {"1-0040": ["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"], "1-0041": ["NC", "VDDQ_VDD2_1V8AO", "NC"]}


def board(sys_folder, chips):
    """Rail number n of a board takes n watts: 5000 mV and 200 n mA."""
    number = 0
    for chip, (address, labels) in enumerate(chips.items()):
        folder = sys_folder / "bus" / "i2c" / "drivers" / "ina3221" / address / "hwmon" / f"hwmon{chip + 2}"
        folder.mkdir(parents=True)
        (folder / "name").write_text("ina3221\n")
        for channel, label in enumerate(labels, 1):
            number += label != "NC"
            (folder / f"in{channel}_label").write_text(f"{label}\n")
            (folder / f"in{channel}_input").write_text("5000\n")
            (folder / f"curr{channel}_input").write_text(f"{200 * number}\n")
            (folder / f"in{channel + 3}_input").write_text("1\n")  # shunt voltages, which have no label
        (folder / "in7_label").write_text("sum of shunt voltages\n")
        (folder / "in7_input").write_text("3\n")
    return sys_folder


def only(found):
    (source,) = found.sources
    return source


def test_an_orin_nano_or_nx_has_a_rail_of_everything(tmp_path):
    source = only(ina3221.find(board(tmp_path, NANO)))
    assert source.read() == pytest.approx({"VDD_IN": 1, "VDD_CPU_GPU_CV": 2, "VDD_SOC": 3})
    assert source.totals == {"VDD_IN": ("VDD_IN",)}
    (tmp_path / "bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon2/curr1_input").write_text("3000\n")
    assert source.read()["VDD_IN"] == pytest.approx(15)  # files stay open, and are read anew
    source.close()


def test_an_orin_agx_has_two_chips_and_two_sums_by_name(tmp_path):
    source = only(ina3221.find(board(tmp_path, AGX)))
    assert list(source.read()) == ["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO"]
    assert list(source.totals) == [
        "VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0",
        "VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0 + VDDQ_VDD2_1V8AO",
    ]


def test_a_board_without_a_rail_that_the_whole_needs_has_no_total(tmp_path):
    lacking = {"1-0040": ["VDD_GPU_SOC", "NC", "VIN_SYS_5V0"], "1-0041": ["NC", "VDDQ_VDD2_1V8AO", "NC"]}
    source = only(ina3221.find(board(tmp_path / "agx", lacking)))
    assert set(source.read()) == {"VDD_GPU_SOC", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO"} and source.totals == {}
    assert only(ina3221.find(board(tmp_path / "nano", {"1-0040": ["VDD_CPU_GPU_CV", "VDD_SOC", "NC"]}))).totals == {}
    one_sum = {"1-0040": AGX["1-0040"]}
    assert list(only(ina3221.find(board(tmp_path / "one", one_sum))).totals) == [
        "VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0"
    ]


def test_a_rail_that_cannot_be_read_is_told_and_left_out(tmp_path):
    folder = board(tmp_path, NANO) / "bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon2"
    (folder / "curr2_input").unlink()
    (folder / "in3_input").write_text("\n")
    found = ina3221.find(tmp_path)
    assert list(only(found).read()) == ["VDD_IN"]
    assert [
        "curr2_input: No such file" in found.lacking[0],
        "in3_input: b'\\n' is not a number" in found.lacking[1],
    ] == [True, True]
    assert found.cures == []


def forbidden(monkeypatch, module, name):
    """Files of a name are refused, as to a user who is not root; a test that runs as root could not tell otherwise."""
    reads, opens = module.Path.read_text, os.open

    def refuse(path):
        if str(path).endswith(name):
            raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(
        module.Path, "read_text", lambda self, *args, **options: refuse(self) or reads(self, *args, **options)
    )
    monkeypatch.setattr(os, "open", lambda path, *args, **options: refuse(path) or opens(path, *args, **options))


def test_rails_that_may_not_be_read_are_told_with_their_cure(tmp_path, monkeypatch):
    board(tmp_path, NANO)
    forbidden(monkeypatch, ina3221, "_input")
    found = ina3221.find(tmp_path)
    assert found.sources == [] and len(found.lacking) == 3 and "Permission denied" in found.lacking[0]
    (cure,) = found.cures
    assert cure.startswith("sudo chmod a+r ") and "hwmon2/*_input" in cure


def zones(sys_folder, **energies):
    """Counters by folder name, its colons written as _: (name, microjoules)."""
    for folder, (name, energy) in energies.items():
        zone = sys_folder / "class" / "powercap" / folder.replace("rapl_", "rapl:").replace("_", ":")
        zone.mkdir(parents=True)
        for file, value in (("name", name), ("energy_uj", energy), ("max_energy_range_uj", 1_000_000)):
            (zone / file).write_text(f"{value}\n")
    return sys_folder


INTEL = {
    "intel-rapl_0": ("package-0", 900_000),
    "intel-rapl_0_0": ("core", 5),
    "intel-rapl_0_2": ("dram", 100_000),
    "intel-rapl_1": ("psys", 7),
    "intel-rapl-mmio_0": ("package-0", 900_000),
}


def test_packages_and_their_memory_are_counted_once_and_through_a_wrap(tmp_path):
    source = only(rapl.find(zones(tmp_path, **INTEL)))
    assert source.totals == {"package-0 + dram-0": ("package-0", "dram-0")}
    package = tmp_path / "class/powercap/intel-rapl:0/energy_uj"
    for counter, joules in ((950_000, 0.05), (50_000, 0.15), (1_000_000, 1.1), (0, 1.1), (10_000, 1.11)):
        package.write_text(f"{counter}\n")
        assert source.read() == pytest.approx({"package-0": joules, "dram-0": 0.0})
    assert source.counts
    source.close()


def test_counters_that_root_alone_may_read_are_told_with_their_cure(tmp_path, monkeypatch):
    zones(tmp_path, **INTEL)
    forbidden(monkeypatch, rapl, "energy_uj")
    found = rapl.find(tmp_path)
    assert found.sources == [] and "may be read by root alone" in found.lacking[0]
    assert found.cures[0].startswith("sudo chmod a+r ")


def test_one_package_of_two_does_not_pass_for_the_whole(tmp_path, monkeypatch):
    zones(tmp_path, **INTEL, **{"intel-rapl_2": ("package-1", 5)})
    forbidden(monkeypatch, rapl, "intel-rapl:2/energy_uj")
    assert rapl.find(tmp_path).sources == []


def test_a_zone_that_is_switched_off_is_left_out(tmp_path):
    zones(tmp_path, **INTEL)
    (tmp_path / "class/powercap/intel-rapl:0:2/energy_uj").write_text("\n")
    assert list(only(rapl.find(tmp_path)).read()) == ["package-0"]


class NVMLError(Exception):
    pass


class FakeNvml(SimpleNamespace):
    """As much of nvidia-ml-py as is asked for: two GPUs, the second without a counter."""

    NVMLError = NVMLError

    def __init__(self):
        super().__init__(millijoules=5000, open=0)

    def nvmlInit(self):
        self.open += 1

    def nvmlShutdown(self):
        self.open -= 1

    def nvmlDeviceGetHandleByIndex(self, index):
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid):
        if uuid != "GPU-abc":
            raise NVMLError("Not Found")
        return 0

    def nvmlDeviceGetName(self, handle):
        return "RTX"

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):
        if handle:
            raise NVMLError("Not Supported")
        return self.millijoules


@pytest.fixture
def driver(tmp_path, monkeypatch):
    path = tmp_path / "version"
    path.touch()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())
    return path


@pytest.mark.parametrize(
    ("visible", "rail"), [("", "GPU 0 (RTX)"), ("0,1", "GPU 0 (RTX)"), ("GPU-abc", "GPU GPU-abc (RTX)")]
)
def test_the_counter_of_the_first_gpu_that_is_seen_is_read(driver, monkeypatch, visible, rail):
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    source = only(nvml.find(driver))
    assert source.read() == {rail: 5.0} and source.totals == {rail: (rail,)} and source.counts
    source.close()
    assert sys.modules["pynvml"].open == 0


@pytest.mark.parametrize("visible", ["1", "MIG-1", "-1", ""])
def test_a_gpu_without_a_counter_is_told(driver, monkeypatch, visible):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = nvml.find(driver)
    assert found.sources == [] and len(found.lacking) == 1 and sys.modules["pynvml"].open == 0


def test_a_gpu_without_its_library_is_told_with_the_cure_and_without_a_gpu_there_is_nothing_to_tell(
    driver, monkeypatch, tmp_path
):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    found = nvml.find(driver)
    assert (
        found.sources == []
        and "needs nvidia-ml-py" in found.lacking[0]
        and found.cures == ["pip install 'edgepers[nvml]'"]
    )
    assert nvml.find(tmp_path / "none") == ([], [], [])


def test_on_a_jetson_the_rails_alone_are_read_and_elsewhere_all_there_is(tmp_path, driver, monkeypatch):
    monkeypatch.setattr(nvml.find, "__defaults__", (driver,))
    both = board(zones(tmp_path / "both", **INTEL), NANO)
    assert [source.name for source in find_sources(both).sources] == ["ina3221"]
    assert [source.name for source in find_sources(zones(tmp_path / "pc", **INTEL)).sources] == ["nvml", "rapl"]
    monkeypatch.setattr(nvml.find, "__defaults__", (tmp_path / "none",))
    assert find_sources(tmp_path / "empty") == ([], [], [])
