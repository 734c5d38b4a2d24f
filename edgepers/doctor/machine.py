"""The board, how fast it is allowed to be, and its clock."""

import time

from edgepers.board.presets import PRESETS
from edgepers.config import format_size
from edgepers.doctor.finding import Finding, Subject

__all__ = ["check_board", "check_clock", "check_power_mode"]

FIRST_YEAR = 2024


def check_board(subject: Subject) -> Finding:
    """What the machine says that it is."""
    board = subject.board
    said = [board.model or "", f"Jetson Linux {board.release}" if board.release else ""]
    if board.memory_bytes:
        said.append(format_size(board.memory_bytes))
    for name, clock in (("CPU", board.cpu_hz), ("GPU", board.gpu_hz), ("memory", board.memory_hz)):
        if clock:
            said.append(f"{name} at most {clock / 1e6:.0f} MHz")
    if board.temperatures:
        zone, degrees = max(board.temperatures.items(), key=lambda item: item[1])
        said.append(f"{degrees:.0f} °C ({zone})")
    return Finding("board", "ok", "; ".join(filter(None, said)) or "it says nothing of itself")


def check_power_mode(subject: Subject) -> Finding:
    """Whether it is in the fastest power mode that it has."""
    board = subject.board
    if not board.power_modes:
        return Finding("power mode", "ok", "none that can be chosen here")
    preset = PRESETS.get(board.preset or "")
    fastest = [mode.name for mode in preset.modes if mode.name in board.power_modes] if preset else []
    now = board.power_mode or "unknown"
    if preset and fastest and fastest[-1] != preset.modes[-1].name:
        cure = (
            f"put NVIDIA's {preset.source.split(',')[0]} in force and restart (JetPack 6.2 and newer; it wants that"
            " release's firmware)"
        )
        return Finding(
            "power mode", "warn", f"{now}; its faster modes, up to {preset.modes[-1].name}, are not set up", cure
        )
    if fastest and now != fastest[-1]:
        return Finding(
            "power mode", "warn", f"{now}, below {fastest[-1]}", f"sudo nvpmodel -m {board.power_modes[fastest[-1]]}"
        )
    return Finding("power mode", "ok", now)


def check_clock(_: Subject) -> Finding:
    """A board without a battery wakes in the past."""
    now = time.gmtime()
    if now.tm_year < FIRST_YEAR:
        return Finding(
            "clock",
            "fail",
            f"the clock says {time.strftime('%Y-%m-%d', now)}",
            "set it: sudo timedatectl set-ntp true, or date -s",
        )
    return Finding("clock", "ok", time.strftime("%Y-%m-%d %H:%M UTC", now))
