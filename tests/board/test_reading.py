import os

import pytest

from edgepers.board.presets import PRESETS
from edgepers.board.reading import read_board, storage_of
from tests.board.trees import BOARDS, board_tree, disk_tree, write


@pytest.mark.parametrize("name", BOARDS)
def test_a_board_is_known_by_what_its_tree_says(tmp_path, name):
    board = read_board(board_tree(tmp_path, name))
    assert (board.preset, board.jetson, board.model) == (name, True, BOARDS[name][0])
    assert board.memory_bytes == 1024 * BOARDS[name][1]
    assert (board.cpu_hz, board.gpu_hz, board.memory_hz) == (1728e6, 612e6, 2133e6)
    assert board.temperatures == {"cpu-thermal": 47.5, "gpu-thermal": 46.187}  # parts that sleep are left out


def test_release_and_power_mode_are_read(tmp_path):
    nano, nx, agx = (read_board(board_tree(tmp_path / name, name)) for name in BOARDS)
    assert [board.l4t for board in (nano, nx, agx)] == [(36, 4, 3), (36, 4, 7), (39, 2, 0)]
    assert [board.release for board in (nano, agx)] == ["R36.4.3", "R39.2.0"]
    assert [board.power_mode for board in (nano, nx, agx)] == ["15W", "40W", "MAXN"]
    assert nano.power_modes == {"15W": 0, "25W": 1, "MAXN_SUPER": 2}


def test_the_smaller_module_of_a_family_is_no_preset(tmp_path):
    board_tree(tmp_path, "orin-nano-8gb")
    write(tmp_path, "proc/meminfo", "MemTotal: 3900000 kB\n")
    assert read_board(tmp_path).preset is None
    assert read_board(tmp_path).jetson


def test_any_other_machine_says_less_and_nothing_breaks(tmp_path):
    board = read_board(tmp_path)
    assert (board.model, board.preset, board.jetson, board.release, board.temperatures) == (None, None, False, "", {})
    here = read_board()
    assert here.memory_bytes is None or here.memory_bytes > 10**8
    write(tmp_path, "etc/nv_tegra_release", "nonsense")
    write(tmp_path, "var/lib/nvpmodel/status", "pmode:0009")
    (tmp_path / "proc/device-tree/model").mkdir(parents=True)
    assert read_board(tmp_path).power_mode is None


@pytest.mark.parametrize(
    ("place", "kind", "found"),
    [
        ("platform/pcie/nvme/nvme0/nvme0n1/nvme0n1p1", "", "nvme"),
        ("platform/3400000.mmc/mmc_host/mmc0/mmc0:aaaa/block/mmcblk1/mmcblk1p1", "SD", "sd"),
        ("platform/3460000.mmc/mmc_host/mmc1/mmc1:0001/block/mmcblk0/mmcblk0p1", "MMC", "emmc"),
        ("platform/usb2/2-1/host0/target/block/sda/sda1", "", "usb"),
        ("pci0000:00/ata1/block/sda/sda1", "", "disk"),
        ("virtual/block/loop0", "", None),
    ],
)
def test_what_a_folder_lies_on(tmp_path, place, kind, found):
    disk_tree(tmp_path, "179:1", place, kind)
    assert storage_of(tmp_path, tmp_path, os.makedev(179, 1)) == found
    assert storage_of(tmp_path, tmp_path, os.makedev(0, 57)) is None  # an overlay
    assert storage_of(tmp_path) in ("nvme", "sd", "emmc", "usb", "disk", None)


def test_presets_get_faster_from_mode_to_mode_and_are_what_nvidia_says_of_the_whole():
    for preset in PRESETS.values():
        speeds = [(mode.flops, preset.bandwidth(mode)) for mode in preset.modes]
        assert speeds == sorted(speeds)
        assert preset.left_bytes < preset.memory_bytes and preset.source
    nano, nx, agx = PRESETS.values()
    best = [preset.modes[-1] for preset in (nano, nx, agx)]
    assert [round(p.bandwidth(m) / 1e9) for p, m in zip((nano, nx, agx), best, strict=True)] == [102, 102, 205]
    assert nano.bandwidth(nano.modes[0]) / 1e9 == pytest.approx(68.3, abs=0.1)
    assert best[0].flops / 1e12 == pytest.approx(16.7, abs=0.1)
    assert agx.mode("30w") is agx.modes[1] and agx.mode("7W") is None
