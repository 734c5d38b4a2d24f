"""Check what this machine has and can do.

Every check launches what it names, and says the cure for what it lacks; none uses the network.

Each check imports what it needs itself: a torch that does not import is a finding, too.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgepers.board.reading import ROOT
from edgepers.doctor.disk import check_buffer, check_disk, check_storage
from edgepers.doctor.energy import check_energy
from edgepers.doctor.finding import Check, Finding, Subject
from edgepers.doctor.four_bits import BNB_CURE, check_cold_boot, check_gradient, check_nf4
from edgepers.doctor.gpu import check_code, check_container, check_torch
from edgepers.doctor.machine import check_board, check_clock, check_power_mode
from edgepers.doctor.memory import check_memory, check_nvmap, check_pieces, check_swap
from edgepers.doctor.software import KERNELS_CURE, check_ops, check_packages, check_python, check_triton
from edgepers.doctor.text import findings_text, report_text
from edgepers.errors import first_line

__all__ = ["CHECKS", "Finding", "Subject", "examine", "findings_text", "report", "report_text"]

_TORCH_CURE = "pip install --force-reinstall torch, from the index for this machine"
CHECKS: dict[str, tuple[Check, str]] = {  # by name, with the cure where a check itself breaks down
    "board": (check_board, "none is needed: edgepers runs without knowing its board"),
    "power mode": (check_power_mode, "sudo nvpmodel -q says which it is"),
    "python": (check_python, "reinstall Python"),
    "packages": (check_packages, "reinstall edgepers in a new environment"),
    "container": (check_container, "start it with --runtime nvidia (JetPack), or --gpus all"),
    "torch": (check_torch, _TORCH_CURE),
    "gpu code": (check_code, _TORCH_CURE),
    "ops": (check_ops, KERNELS_CURE),
    "cold boot": (check_cold_boot, "none"),
    "nf4": (check_nf4, BNB_CURE),
    "4-bit gradient": (check_gradient, BNB_CURE),
    "triton": (check_triton, "pip install --force-reinstall triton"),
    "memory": (check_memory, "pip install --force-reinstall psutil"),
    "swap": (check_swap, "pip install --force-reinstall psutil"),
    "free pieces": (check_pieces, "none"),
    "nvmap": (check_nvmap, "none"),
    "disk": (check_disk, "give --state a folder on a disk that can be read"),
    "storage": (check_storage, "none"),
    "buffer": (check_buffer, "restore the state folder from a copy, or move it away"),
    "energy": (check_energy, "try again: the bus of a meter may be busy for a moment"),
    "clock": (check_clock, "set the clock"),
}


def examine(state: Path | None = None, root: Path = ROOT) -> list[Finding]:
    """Run every check; one that breaks down is a failure of that check, whatever it raised."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it tells of kernels it would like to download
    subject = Subject(state, root)
    findings = []
    for name, (check, cure) in CHECKS.items():
        try:
            findings.append(check(subject))
        except Exception as error:  # what is broken may break in any way, and the other checks must still be told
            findings.append(Finding(name, "fail", f"{type(error).__name__}: {first_line(error)}", cure))
    return findings


def report(findings: Sequence[Finding], root: Path = ROOT) -> dict[str, Any]:
    """What `edgepers doctor --json` prints."""
    return {
        "ok": all(finding.status != "fail" for finding in findings),
        "failed": [finding.name for finding in findings if finding.status == "fail"],
        "jetson": Subject(root=root).board.jetson,
        "checks": [finding._asdict() for finding in findings],
    }
