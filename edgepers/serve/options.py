"""What `edgepers serve` may be told beside a state's settings; nothing of it is kept in the state."""

import ipaddress
import shlex
from dataclasses import dataclass, fields
from pathlib import Path
from urllib.parse import urlsplit

from edgepers.config import Size, option
from edgepers.errors import UsageError

__all__ = ["ServeOptions", "is_loopback"]

LEAST_TOKEN = 16  # characters
OWN_BODY = Size(1_000_000)
PROXY_BODY = Size(64_000_000)  # pictures and sound pass through


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """Where the server listens, who may enter, and what it stands before; None is unset."""

    host: str = option("127.0.0.1", "address to listen at; any other than this machine's own needs --token-file")
    port: int = option(8000, "port to listen at; 0: a free one, which is printed")
    upstream: str | None = option(
        None,
        "pass everything through to this server (Ollama, llama.cpp, vLLM), such as http://127.0.0.1:11434, and learn"
        " from what is said there; unset: answer here",
    )
    upstream_model: str | None = option(
        None,
        "the base model's name there: what is learned is published there, too, by Ollama as NAME-personal, by llama.cpp"
        " as the LoRA file that it was started with; unset: the upstream answers as before",
    )
    upstream_lora: str | None = option(
        None,
        "for llama.cpp: the file that it is started with (--lora FILE), which is made where there is none; unset:"
        " upstream/adapter.gguf in the state folder",
    )
    upstream_restart: str | None = option(
        None,
        "for llama.cpp: the command that restarts it, such as 'systemctl restart llama'; a router (--models-preset)"
        " needs none",
    )
    token_file: str | None = option(
        None, f"file with the token that clients must send as their API key, at least {LEAST_TOKEN} characters"
    )
    allow_host: str | None = option(
        None, "names by which clients may reach it beside localhost and addresses in digits, separated by commas"
    )
    allow_origin: str | None = option(
        None, "web pages of other servers that may use it, such as http://my-page:3000, separated by commas"
    )
    tls_cert: str | None = option(None, "file with the certificate, for https; with --tls-key")
    tls_key: str | None = option(None, "file with the certificate's key")
    waiting: int = option(16, "requests that may wait for an answer; more are refused with status 429")
    max_body: Size | None = option(
        None, "largest body of a request that is taken; unset: 1MB, and 64MB where it passes through"
    )
    learn: bool = option(True, "learn from what is said; without, answer alone")

    def __post_init__(self) -> None:
        """Refuse what cannot be right, or would let anyone in.

        Raises:
            UsageError: names the option, its value and the cure.
        """
        if self.host.startswith("["):
            raise UsageError(f"--host {self.host}: write the address without brackets, {self.host.strip('[]')}")
        if not 0 <= self.port <= 65_535:
            raise UsageError(f"--port is {self.port}; give one from 1 to 65535, or 0 for a free one")
        if self.waiting < 1:
            raise UsageError(f"--waiting is {self.waiting}; the least is 1")
        if self.max_body is not None and self.max_body < 1000:
            raise UsageError(f"--max-body is {self.max_body} bytes; the least is 1KB")
        if not self.is_local and self.token_file is None:
            raise UsageError(
                f"--host {self.host} lets other machines in; give --token-file FILE, whose token they must send"
            )
        if (self.tls_cert is None) != (self.tls_key is None):
            raise UsageError("--tls-cert and --tls-key belong together; give both, or neither")
        if self.upstream is not None:
            self._check_upstream(self.upstream)
        self._check_publishing()

    def _check_publishing(self) -> None:
        if self.upstream_model is not None and (self.upstream is None or not self.upstream_model.strip()):
            raise UsageError(
                f"--upstream-model {self.upstream_model!r}: give --upstream URL, and the model's name there"
            )
        for name, value in (("lora", self.upstream_lora), ("restart", self.upstream_restart)):
            if value is not None and self.upstream_model is None:
                raise UsageError(f"--upstream-{name} {value!r} says how it is published; give --upstream-model, too")
        try:
            words = None if self.upstream_restart is None else shlex.split(self.upstream_restart)
        except ValueError as error:
            raise UsageError(f"--upstream-restart {self.upstream_restart!r}: {error}; mend its quotes") from None
        if words == []:
            raise UsageError("--upstream-restart is empty; give the command, or leave it out")

    @staticmethod
    def _check_upstream(address: str) -> None:
        try:
            parts = urlsplit(address)
            known = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            known = False
        if not known or parts.query or parts.fragment or parts.username:
            raise UsageError(f"--upstream {address!r} is no server's address; write http://127.0.0.1:11434")

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)

    @property
    def most_body_bytes(self) -> int:
        """Of a request's body."""
        return int(self.max_body or (OWN_BODY if self.upstream is None else PROXY_BODY))

    @property
    def hosts(self) -> frozenset[str]:
        """Names that a request may call this server, in lower case."""
        return frozenset({"localhost", self.host.lower(), *_listed(self.allow_host)})

    @property
    def origins(self) -> tuple[str, ...]:
        """Web pages that may use it, in lower case."""
        return _listed(self.allow_origin)

    def token(self) -> str | None:
        """The token of the file.

        Raises:
            UsageError: it cannot be read, or is too short.
        """
        if self.token_file is None:
            return None
        path = Path(self.token_file).expanduser()
        try:
            token = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not text"
            raise UsageError(f"--token-file {path}: {why}; make it with 'openssl rand -hex 32 > {path}'") from None
        if len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
            raise UsageError(
                f"--token-file {path}: needs one line of {LEAST_TOKEN} or more letters and digits; make it with"
                f" 'openssl rand -hex 32 > {path}'"
            )
        return token

    @classmethod
    def names(cls) -> list[str]:
        """Of all options."""
        return [f.name for f in fields(cls)]


def is_loopback(host: str) -> bool:
    """Whether a name or an address in digits is this machine's own."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listed(text: str | None) -> tuple[str, ...]:
    return tuple(entry.strip().lower().rstrip("/") for entry in (text or "").split(",") if entry.strip())
