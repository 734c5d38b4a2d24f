"""A service and a timer that do a round at night."""

from edgepers.errors import UsageError
from edgepers.service.units import Service, service_lines, word

__all__ = ["round_units"]

NAME = "edgepers-round"
WAIT_MINUTES = 30  # for the device to be idle


def round_units(service: Service, at: str) -> dict[str, str]:
    """Text of the two unit files, by name.

    Args:
        service: the state's.
        at: systemd's OnCalendar.

    Raises:
        UsageError: a time that no unit file can hold.
    """
    if not at.strip() or not at.isprintable():
        raise UsageError(
            f"--at {at!r} is no time; give one as systemd's OnCalendar has it, such as 02:30 or 'Sun 04:00'"
        )
    return {f"{NAME}.service": _service(service), f"{NAME}.timer": _timer(at)}


def _service(service: Service) -> str:
    command = (
        f"{word(service.python)} -m edgepers round --state {word(service.state)} --when-idle {WAIT_MINUTES}"
        " --pause-when-busy"
    )
    kind = [
        "Type=oneshot",
        f"ExecStart={command}",
        "# A round that is cut off goes on from its last checkpoint the next time.",
        "TimeoutStartSec=6h",
        "Nice=19",
        "CPUWeight=10",
        "IOSchedulingClass=idle",
    ]
    return "\n".join(
        [
            "[Unit]",
            "Description=edgepers: a round of learning while the device is idle",
            f"ConditionPathExists={str(service.state).replace('%', '%%')}/edgepers.toml",
            "",
            *service_lines(service, kind, ["PrivateNetwork=yes", "RestrictAddressFamilies=AF_UNIX"]),
            "",
        ]
    )


def _timer(at: str) -> str:
    return "\n".join(
        [
            "[Unit]",
            "Description=edgepers: when to look whether there is something to learn",
            "",
            "[Timer]",
            f"OnCalendar={at}",
            "# Done at the next start where the device was off.",
            "Persistent=true",
            "",
            "[Install]",
            "WantedBy=timers.target",
            "",
        ]
    )
