"""Synthetic trees of three boards: the files that a Jetson has, as public listings show them."""

from pathlib import Path

SUPER = (
    "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=1 NAME=25W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n< PM_CONFIG"
    " DEFAULT=1 >\n"
)
AGX = "".join(
    f"< POWER_MODEL ID={i} NAME={name} >\n" for i, name in enumerate(["MAXN", "MODE_15W", "MODE_30W", "MODE_50W"])
)
NX = "".join(
    f"< POWER_MODEL ID={i} NAME={name} >\n" for i, name in enumerate(["MAXN_SUPER", "10W", "15W", "25W", "40W"])
)
BOARDS = {  # device tree's model, MemTotal in kB, modes, number of the one that it is in, release, GPU's folder
    "orin-nano-8gb": (
        "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
        7_802_000,
        SUPER,
        0,
        "36 (release), REVISION: 4.3",
        "sys/devices/platform/17000000.gpu/devfreq_dev",
    ),
    "orin-nx-16gb": (
        "NVIDIA Jetson Orin NX Engineering Reference Developer Kit",
        15_900_000,
        NX,
        4,
        "36 (release), REVISION: 4.7",
        "sys/class/devfreq/17000000.gpu",
    ),
    "orin-agx-64gb": (
        "NVIDIA Jetson AGX Orin Developer Kit",
        64_300_000,
        AGX,
        0,
        "39 (release), REVISION: 2",
        "sys/class/devfreq/17000000.ga10b",
    ),
}


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def board_tree(root: Path, name: str) -> Path:
    """Everything that `read_board` looks at."""
    model, memory, modes, mode, release, gpu = BOARDS[name]
    write(root, "proc/device-tree/model", model + "\x00")
    write(root, "proc/meminfo", f"MemTotal:       {memory} kB\nMemFree:         100000 kB\n")
    write(root, "etc/nv_tegra_release", f"# R{release}, GCID: 38968081, BOARD: generic, EABI: aarch64\n")
    write(root, "etc/nvpmodel.conf", modes)
    write(root, "var/lib/nvpmodel/status", f"pmode:{mode:04}")
    for core, khz in enumerate((1497600, 1728000)):
        write(root, f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_max_freq", f"{khz}\n")
    write(root, f"{gpu}/max_freq", "612000000\n")
    write(root, "sys/kernel/nvpmodel_clk_cap/emc", "2133000000\n")
    for zone, (kind, value) in enumerate(
        {"cpu-thermal": "47500", "gpu-thermal": "46187", "cv0-thermal": "-256000", "tj-thermal": ""}.items()
    ):
        write(root, f"sys/class/thermal/thermal_zone{zone}/type", kind + "\n")
        write(root, f"sys/class/thermal/thermal_zone{zone}/temp", value + "\n")
    return root


def disk_tree(root: Path, device: str, place: str, kind: str = "") -> Path:
    """A block device under sysfs; `place` is where its partition's folder is."""
    folder = root / "sys/devices" / place
    folder.mkdir(parents=True)
    if kind:
        write(folder.parent, "device/type", kind + "\n")
    link = root / "sys/dev/block" / device
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(folder)
    return root
