"""Three Jetson Orin boards in their power modes: clocks and units that are on, with the source of each figure.

Clocks and gated units are those of NVIDIA's nvpmodel configurations for JetPack 6, as published in
github.com/LineageOS/android_device_nvidia_concord (nvpmodel/, commits 370b63a and 640733e); a mode's watts are in its
name. None of it has been measured by us.
"""

from dataclasses import dataclass

__all__ = ["PRESETS", "PowerMode", "Preset"]

GB = 10**9
# Dense float16 operations of one multiprocessor's tensor cores in a clock: a quarter of the 67 TOPS (8 bits, sparse)
# that NVIDIA gives the Orin Nano Super, by 8 multiprocessors at 1.02 GHz; the 170 of an AGX Orin's GPU, 16 at 1.3 GHz,
# say the same.
FLOP_A_CLOCK = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerMode:
    """A power mode of a board: its clocks and its limit in watts.

    Attributes:
        name: as nvpmodel calls it.
        watts: that the module may take.
        multiprocessors: of the GPU that are on.
        gpu_hz: most that its clock may be.
        memory_hz: most that the memory's clock may be; two transfers a clock.
        source: of what is not in the file that the preset names.
    """

    name: str
    watts: float
    multiprocessors: int
    gpu_hz: float
    memory_hz: float
    source: str = ""

    @property
    def flops(self) -> float:
        """Dense float16 products a second at the most."""
        return FLOP_A_CLOCK * self.multiprocessors * self.gpu_hz


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """What is known of one board: its memory, its power modes and where each figure is from.

    Attributes:
        title: as people call it.
        family: in the device tree's model.
        memory_bytes: of the module.
        left_bytes: of it for a model.
        left_from: where that figure is from.
        bus_bits: of the memory.
        modes: slowest first; the last is the best.
        source: of the modes.
    """

    title: str
    family: str
    memory_bytes: int
    left_bytes: int
    left_from: str
    bus_bits: int
    modes: tuple[PowerMode, ...]
    source: str

    def bandwidth(self, mode: PowerMode) -> float:
        """Bytes a second that the memory moves at the most."""
        return mode.memory_hz * 2 * self.bus_bits / 8

    def mode(self, name: str) -> PowerMode | None:
        """Find a power mode by its name, as nvpmodel or as people write it."""
        plain = name.upper().removeprefix("MODE_")
        return next((mode for mode in self.modes if mode.name.upper().removeprefix("MODE_") == plain), None)


_UNCAPPED = "no cap in the file: clocks of NVIDIA's data sheet; it names no watts, and these are the module's most"
PRESETS = {
    "orin-nano-8gb": Preset(
        title="Orin Nano 8 GB",
        family="Orin Nano",
        memory_bytes=8 * GB,
        left_bytes=5_200_000_000,
        left_from="what one user reported an Orin Nano 8 GB to leave",
        bus_bits=128,
        modes=(
            PowerMode(name="15W", watts=15, multiprocessors=8, gpu_hz=612e6, memory_hz=2133e6),
            PowerMode(name="25W", watts=25, multiprocessors=8, gpu_hz=918e6, memory_hz=3199e6),
            PowerMode(
                name="MAXN_SUPER",
                watts=25,
                multiprocessors=8,
                gpu_hz=1020e6,
                memory_hz=3199e6,
                source=f"{_UNCAPPED} (watts unverified)",
            ),
        ),
        source="nvpmodel_p3767_0003_super.conf",
    ),
    "orin-nx-16gb": Preset(
        title="Orin NX 16 GB",
        family="Orin NX",
        memory_bytes=16 * GB,
        left_bytes=int(0.8 * 16 * GB),
        left_from="an assumption: 0.8 of 16 GB",
        bus_bits=128,
        modes=(
            PowerMode(name="10W", watts=10, multiprocessors=4, gpu_hz=612e6, memory_hz=2133e6),
            PowerMode(name="15W", watts=15, multiprocessors=4, gpu_hz=612e6, memory_hz=3199e6),
            PowerMode(name="25W", watts=25, multiprocessors=8, gpu_hz=408e6, memory_hz=3199e6),
            PowerMode(name="40W", watts=40, multiprocessors=8, gpu_hz=1173e6, memory_hz=3199e6),
            PowerMode(
                name="MAXN_SUPER",
                watts=40,
                multiprocessors=8,
                gpu_hz=1173e6,
                memory_hz=3199e6,
                source="no cap in the file: clock and watts of the 40W mode (unverified)",
            ),
        ),
        source="nvpmodel_p3767_0000_super.conf",
    ),
    "orin-agx-64gb": Preset(
        title="AGX Orin 64 GB",
        family="AGX Orin",
        memory_bytes=64 * GB,
        left_bytes=int(0.8 * 64 * GB),
        left_from="an assumption: 0.8 of 64 GB",
        bus_bits=256,
        modes=(
            PowerMode(name="MODE_15W", watts=15, multiprocessors=6, gpu_hz=408e6, memory_hz=2133e6),
            PowerMode(name="MODE_30W", watts=30, multiprocessors=8, gpu_hz=612e6, memory_hz=3199e6),
            PowerMode(name="MODE_50W", watts=50, multiprocessors=16, gpu_hz=816e6, memory_hz=3199e6),
            PowerMode(
                name="MAXN",
                watts=60,
                multiprocessors=16,
                gpu_hz=1300e6,
                memory_hz=3199e6,
                source="no cap in the file: 1.3 GHz of the technical brief; 60 W as the module's most in its data"
                " sheet, quoted at forums.developer.nvidia.com/t/maximum-power-consumption-bounds-for-orin-agx/323456",
            ),
        ),
        source="nvpmodel_p3701_0000.conf, of the developer kit; that of the 64 GB module may differ (unverified)",
    ),
}
