r"""What metering energy costs: the sampling thread's share of one core, on a synthetic tree of an AGX Orin's rails.

Run: python -m benchmarks.bench_meter [--seconds 20] [--out FILE]

The thread reads four rails, eight files, ten times a second. A board's bus is not in it: there, `edgepers profile`
tells the same share of the board's own meter.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

from benchmarks.harness import RESULTS, describe
from edgepers.meter import ina3221
from edgepers.meter.energy import EnergyMeter

RAILS = ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO")


def main() -> None:
    """Measure and keep a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--out", type=Path, default=RESULTS / "meter.jsonl")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        chip = Path(folder) / "bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon2"
        chip.mkdir(parents=True)
        for number, rail in enumerate(RAILS, 1):
            for file, value in (("label", rail), ("input", "5000")):
                (chip / f"in{number}_{file}").write_text(f"{value}\n")
            (chip / f"curr{number}_input").write_text("400\n")
        meter = EnergyMeter(ina3221.find(Path(folder)).sources)
        with meter.window() as window:
            time.sleep(args.seconds)
        meter.close()
    expected = 3 * 2.0 * window.spent.seconds  # the sum without the memory's rail
    row = {
        "name": "sampling thread",
        "share_of_core": meter.cost_share,
        "joules": window.spent.joules,
        "expected_joules": expected,
    }
    print(row)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with args.out.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(row | {"seconds": window.spent.seconds} | describe()) + "\n")


if __name__ == "__main__":
    main()
