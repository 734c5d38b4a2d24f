"""A service that answers, and learns while the device is idle: `edgepers serve` from the system's start to its end."""

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from urllib.parse import urlsplit

from edgepers.config import option_name
from edgepers.errors import UsageError
from edgepers.serve.options import ServeOptions, is_loopback
from edgepers.service.units import Service, path, service_lines, word

__all__ = ["server_units"]

NAME = "edgepers-serve"
WATCHDOG_SECONDS = 60
_FILES = ("token_file", "tls_cert", "tls_key")


def server_units(service: Service, options: ServeOptions, given: Mapping[str, object] | None = None) -> dict[str, str]:
    """Text of the unit file, by name.

    Args:
        service: the state's.
        options: of the server. Its files are handed over as credentials, so that only root need be able to read them.
        given: settings of the state that the server is started with.

    Raises:
        UsageError: a value that no unit file can hold.
    """
    files = {name: _absolute(value) for name in _FILES if (value := getattr(options, name))}
    command = [word(service.python), "-m", "edgepers", "serve", "--state", word(service.state)]
    for name, value in (given or {}).items():
        here = _absolute(str(value))
        command.append(_option(name, here if name == "model" and here.exists() else value))
    for f in fields(options):
        value = getattr(options, f.name)
        if f.name in files:
            command.append(f"{option_name(f.name)}=${{CREDENTIALS_DIRECTORY}}/{_credential(f.name)}")
        elif isinstance(value, bool):
            command += [] if value == f.default else [option_name(f.name if value else f"no_{f.name}")]
        elif value != f.default:
            command.append(_option(f.name, _absolute(value) if f.name == "upstream_lora" else value))
    kind = [
        "Type=notify",
        f"ExecStart={' '.join(command)}",
        "Restart=on-failure",
        "RestartSec=10",
        "# A model of some gigabytes is read before it is ready; an adapter that is trained ends at its checkpoint.",
        "TimeoutStartSec=15min",
        "# What an upstream answers with that was forgotten here is taken back before it ends.",
        "TimeoutStopSec=5min",
        "# A server that no longer looks at its clients is started again.",
        f"WatchdogSec={WATCHDOG_SECONDS}",
    ]
    if options.upstream_lora:
        kind.append(f"ReadWritePaths={path(_absolute(options.upstream_lora).parent)}")
    credentials = {_credential(name): file for name, file in files.items()}
    for name, file in files.items():
        _option(name, file)
    text = "\n".join(
        [
            "[Unit]",
            "Description=edgepers: a model that becomes its owner's own, by OpenAI's interface",
            "After=network.target",
            "StartLimitIntervalSec=10min",
            "StartLimitBurst=5",
            "",
            *service_lines(service, kind, _network(options), credentials),
            "",
            "[Install]",
            "WantedBy=multi-user.target",
            "",
        ]
    )
    return {f"{NAME}.service": text}


def _credential(name: str) -> str:
    return name.replace("_", "-")


def _absolute(text: str) -> Path:
    return Path(os.path.abspath(Path(text).expanduser()))


def _option(name: str, value: object) -> str:
    if not str(value).isprintable():
        raise UsageError(f"{option_name(name)} {str(value)!r} has a character that no unit file can hold")
    return word(f"{option_name(name)}={value}")


def _network(options: ServeOptions) -> list[str]:
    families = "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6"
    upstream = urlsplit(options.upstream).hostname if options.upstream else None
    if not options.is_local or (upstream and not is_loopback(upstream)):
        return [families]
    return ["# Nobody but this machine is reached.", families, "IPAddressDeny=any", "IPAddressAllow=localhost"]
