"""A systemd service and timer: rounds at night, by a user of its own, on a system that it cannot write to."""

import grp
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from edgepers.config import Settings
from edgepers.errors import EdgepersError, UsageError
from edgepers.files import replace_file
from edgepers.privacy.keyring import CREDENTIAL
from edgepers.state.folder import State

__all__ = ["Service", "service_of", "units", "write_units"]

NAME = "edgepers-round"
WAIT_MINUTES = 30  # for the device to be idle
# Of Python and its libraries, which --memory does not count: 0.5 GB measured on a CPU, 0.33 GB more in a round's child.
LIBRARIES_BYTES = 1_000_000_000
_VAR = Path("/var/lib")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What the units of a state's service say.

    Attributes:
        state: its folder, absolute.
        python: that runs it, absolute.
        user: who runs it.
        groups: that may use the GPU, of those that this system has.
        at: systemd's OnCalendar.
        memory_bytes: of the process, at most: the state's budget, and its libraries.
        planned_bytes: what the plan says that it takes, with its libraries; None where the model's configuration is not
            here.
        encrypted: the credential is, with systemd-creds.
    """

    state: Path
    python: Path
    user: str
    groups: tuple[str, ...]
    at: str
    memory_bytes: int
    planned_bytes: int | None
    encrypted: bool


def service_of(state: State, *, at: str, user: str, encrypted: bool) -> Service:
    """Make the service from a state's settings, or the defaults where there is none yet.

    Raises:
        UsageError: a time or name that no unit file can hold.
    """
    if not at.strip() or not at.isprintable():
        raise UsageError(
            f"--at {at!r} is no time; give one as systemd's OnCalendar has it, such as 02:30 or 'Sun 04:00'"
        )
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,30}", user):
        raise UsageError(f"--user {user!r} is no name of a system user; give one such as edgepers")
    folder = state.folder.absolute()
    if not str(folder).isprintable():
        raise UsageError(f"--state {str(folder)!r} has a character that no unit file can hold; give another folder")
    settings = Settings.make({}, state.saved_settings())
    return Service(
        state=folder,
        python=Path(sys.executable),
        user=user,
        groups=tuple(name for name in ("video", "render") if _is_group(name)),
        at=at,
        memory_bytes=int(settings.memory) + LIBRARIES_BYTES,
        planned_bytes=_planned(settings),
        encrypted=encrypted,
    )


def _is_group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def _planned(settings: Settings) -> int | None:
    from edgepers.plan.fit import MARGIN
    from edgepers.plan.plan import plan

    try:
        found = plan(settings, memory=int(settings.memory))
    except EdgepersError:
        return None
    return int(min(MARGIN * found["total_bytes"], settings.memory)) + LIBRARIES_BYTES


def units(service: Service) -> dict[str, str]:
    """Text of the two unit files, by name."""
    return {f"{NAME}.service": _service(service), f"{NAME}.timer": _timer(service)}


def write_units(folder: Path, made: dict[str, str]) -> None:
    """Put them into a folder, such as /etc/systemd/system."""
    for name, text in made.items():
        replace_file(folder / name, text)


def _word(text: object) -> str:
    """One word of a unit file, whatever is in it."""
    escaped = str(text).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return escaped if re.fullmatch(r"[\w./%$+:@-]+", escaped) else f'"{escaped}"'


def _path(text: object) -> str:
    """One path of a unit file, which is not a command's."""
    return _word(text).replace("$$", "$")


def _service(service: Service) -> str:
    state = _path(service.state)
    home = any(
        service.python.is_relative_to(place) or service.state.is_relative_to(place) for place in ("/home", "/root")
    )
    below = service.state.relative_to(_VAR) if service.state.is_relative_to(_VAR) and service.state != _VAR else None
    places = [
        f"StateDirectory={_path(below)} edgepers/keys"
        if below
        else f"ReadWritePaths={state}\nStateDirectory=edgepers/keys"
    ]
    load = (
        f"LoadCredentialEncrypted={CREDENTIAL}:/etc/credstore.encrypted/"
        if service.encrypted
        else f"LoadCredential={CREDENTIAL}:/etc/credstore/"
    )
    high = [f"MemoryHigh={service.planned_bytes}"] if service.planned_bytes else []
    groups = [f"SupplementaryGroups={' '.join(service.groups)}"] if service.groups else []
    command = (
        f"{_word(service.python)} -m edgepers round --state {_word(service.state)} --when-idle {WAIT_MINUTES}"
        " --pause-when-busy"
    )
    return "\n".join(
        [
            "[Unit]",
            "Description=edgepers: a round of learning while the device is idle",
            f"ConditionPathExists={str(service.state).replace('%', '%%')}/edgepers.toml",
            "",
            "[Service]",
            "Type=oneshot",
            f"ExecStart={command}",
            "# A round that is cut off goes on from its last checkpoint the next time.",
            "TimeoutStartSec=6h",
            f"User={service.user}",
            f"Group={service.user}",
            *groups,
            "# The state's key is wrapped with this credential, which only this service is given.",
            f"{load}{CREDENTIAL}",
            *places,
            "StateDirectoryMode=0700",
            "# Models that are made of GGUF files lie in the cache; nobody's text does.",
            "CacheDirectory=edgepers",
            "Environment=XDG_CONFIG_HOME=/var/lib/edgepers/keys XDG_CACHE_HOME=/var/cache/edgepers",
            "Environment=HF_HOME=/var/lib/edgepers/models HF_HUB_OFFLINE=1",
            "# What the plan says, then the state's --memory, each with the libraries.",
            *high,
            f"MemoryMax={service.memory_bytes}",
            "Nice=19",
            "CPUWeight=10",
            "IOSchedulingClass=idle",
            "# Everything else of the system is read-only, and there is no network.",
            "ProtectSystem=strict",
            f"ProtectHome={'read-only' if home else 'yes'}",
            "PrivateTmp=yes",
            "PrivateNetwork=yes",
            "RestrictAddressFamilies=AF_UNIX",
            "NoNewPrivileges=yes",
            "CapabilityBoundingSet=",
            "ProtectKernelTunables=yes",
            "ProtectKernelModules=yes",
            "ProtectKernelLogs=yes",
            "ProtectControlGroups=yes",
            "ProtectClock=yes" if not service.groups else "# ProtectClock would close the devices, the GPU among them.",
            "ProtectHostname=yes",
            "RestrictNamespaces=yes",
            "RestrictRealtime=yes",
            "RestrictSUIDSGID=yes",
            "LockPersonality=yes",
            "SystemCallArchitectures=native",
            "LimitCORE=0",
            "UMask=0077",
            "",
        ]
    )


def _timer(service: Service) -> str:
    return "\n".join(
        [
            "[Unit]",
            "Description=edgepers: when to look whether there is something to learn",
            "",
            "[Timer]",
            f"OnCalendar={service.at}",
            "# Done at the next start where the device was off.",
            "Persistent=true",
            "",
            "[Install]",
            "WantedBy=timers.target",
            "",
        ]
    )
