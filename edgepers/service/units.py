"""systemd's units of a state: a user of its own, on a system that it cannot write to, within the memory of the plan."""

import grp
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgepers.config import Settings
from edgepers.errors import EdgepersError, UsageError
from edgepers.files import replace_file
from edgepers.privacy.keyring import CREDENTIAL
from edgepers.state.folder import State

__all__ = ["LIBRARIES_BYTES", "Service", "path", "service_lines", "service_of", "word", "write_units"]

# Of Python and its libraries, which --memory does not count: 0.5 GB measured on a CPU, 0.33 GB more in a round's child.
LIBRARIES_BYTES = 1_000_000_000
_VAR = Path("/var/lib")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What the units of a state say, whatever they run.

    Attributes:
        state: its folder, absolute.
        python: that runs it, absolute.
        user: who runs it.
        groups: that may use the GPU, of those that this system has.
        memory_bytes: of the process, at most: the state's budget, and its libraries.
        planned_bytes: what the plan says that it takes, with its libraries; None where the model's configuration is not
            here.
        encrypted: the key's credential is, with systemd-creds.
    """

    state: Path
    python: Path
    user: str
    groups: tuple[str, ...]
    memory_bytes: int
    planned_bytes: int | None
    encrypted: bool

    @property
    def below_var(self) -> Path | None:
        """The state's folder below /var/lib, where systemd itself makes it; None where it must be there already."""
        if not self.state.is_relative_to(_VAR) or self.state == _VAR:
            return None
        below = self.state.relative_to(_VAR)
        return below if re.fullmatch(r"[\w./@+ -]+", str(below)) else None

    def require_place(self) -> None:
        """Refuse a state that a service could not make.

        Raises:
            UsageError: says how to make it.
        """
        if self.below_var is None and not self.state.is_dir():
            raise UsageError(
                f"--state {self.state} is not there, and the service could not make it; give one below {_VAR}, or make"
                f" it: sudo install -d -o {self.user} -m 700 {self.state}"
            )


def service_of(
    state: State, *, user: str, encrypted: bool = False, given: Mapping[str, object] | None = None
) -> Service:
    """Make the service from a state's settings, or the defaults where there is none yet.

    Args:
        state: need not be there yet.
        user: of the system.
        encrypted: as `Service` has it.
        given: settings that the service is started with, over those of the state.

    Raises:
        UsageError: a name that no unit file can hold.
    """
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,30}", user):
        raise UsageError(f"--user {user!r} is no name of a system user; give one such as edgepers")
    folder = Path(os.path.abspath(state.folder))
    if not str(folder).isprintable():
        raise UsageError(f"--state {str(folder)!r} has a character that no unit file can hold; give another folder")
    settings = Settings.make(dict(given or {}), state.saved_settings())
    return Service(
        state=folder,
        python=Path(sys.executable),
        user=user,
        groups=tuple(name for name in ("video", "render") if _is_group(name)),
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


def write_units(folder: Path, made: Mapping[str, str]) -> None:
    """Put unit files into a folder, such as /etc/systemd/system."""
    for name, text in made.items():
        replace_file(folder / name, text)


def word(text: object) -> str:
    """One word of a unit's command, whatever is in it."""
    escaped = str(text).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return escaped if re.fullmatch(r"[\w./%$+:@=-]+", escaped) else f'"{escaped}"'


def path(text: object) -> str:
    """One path of a unit that is not a command's."""
    return word(text).replace("$$", "$")


def service_lines(
    service: Service, kind: Sequence[str], network: Sequence[str], credentials: Mapping[str, Path] | None = None
) -> list[str]:
    """The lines of a [Service] section.

    Args:
        service: whose.
        kind: lines that say what it runs, and how.
        network: lines that say whom it may reach.
        credentials: files beside the key's credential that it is given copies of, by name.
    """
    home = any(
        service.python.is_relative_to(place) or service.state.is_relative_to(place) for place in ("/home", "/root")
    )
    below = service.below_var
    places = [
        f"StateDirectory={path(below)} edgepers/keys"
        if below
        else f"ReadWritePaths={path(service.state)}\nStateDirectory=edgepers/keys"
    ]
    load = (
        f"LoadCredentialEncrypted={CREDENTIAL}:/etc/credstore.encrypted/"
        if service.encrypted
        else f"LoadCredential={CREDENTIAL}:/etc/credstore/"
    )
    high = [f"MemoryHigh={service.planned_bytes}"] if service.planned_bytes else []
    groups = [f"SupplementaryGroups={' '.join(service.groups)}"] if service.groups else []
    return [
        "[Service]",
        *kind,
        f"User={service.user}",
        f"Group={service.user}",
        *groups,
        "# The state's key is wrapped with this credential, which only this service is given.",
        f"{load}{CREDENTIAL}",
        *(f"LoadCredential={name}:{str(file).replace('%', '%%')}" for name, file in (credentials or {}).items()),
        *places,
        "StateDirectoryMode=0700",
        "# Models that are made of GGUF files lie in the cache; nobody's text does.",
        "CacheDirectory=edgepers",
        "Environment=XDG_CONFIG_HOME=/var/lib/edgepers/keys XDG_CACHE_HOME=/var/cache/edgepers",
        "Environment=HF_HOME=/var/lib/edgepers/models HF_HUB_OFFLINE=1",
        "# What the plan says, then the state's --memory, each with the libraries.",
        *high,
        f"MemoryMax={service.memory_bytes}",
        "# A training that ran out of memory goes on with smaller batches.",
        "OOMPolicy=continue",
        "# Everything else of the system is read-only.",
        "ProtectSystem=strict",
        f"ProtectHome={'read-only' if home else 'yes'}",
        "PrivateTmp=yes",
        *network,
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
    ]
