"""The key ring of one state: random keys in a file outside the state folder, wrapped where the owner has a secret.

A ring holds one key, and two while everything is sealed again after something was forgotten. Replacing the file
destroys the old key: its bytes are overwritten before they are let go, and flash that keeps old blocks keeps at most a
wrapped key where a passphrase or credential wraps it.
"""

import contextlib
import getpass
import json
import os
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from edgepers.config import Settings
from edgepers.errors import StateError
from edgepers.files import replace_file

__all__ = ["CREDENTIAL", "KeyRing", "KeySource", "key_source"]

FORMAT = 1
CREDENTIAL = "edgepers"  # name of the systemd credential that wraps the ring
PASSPHRASE = "EDGEPERS_PASSPHRASE"
_SCRYPT = {"n": 1 << 15, "r": 8, "p": 1}  # 32 MB, a few tenths of a second on a board


def _credential() -> Path | None:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    path = Path(folder) / CREDENTIAL if folder else None
    return path if path is not None and path.is_file() else None


def _typed_passphrase() -> str:
    given = os.environ.get(PASSPHRASE)
    if given is None and sys.stdin is not None and sys.stdin.isatty():
        given = getpass.getpass("passphrase: ", stream=sys.stderr)
    if not given:
        raise StateError(
            f"the state's key is wrapped with a passphrase; set {PASSPHRASE}, or run at a terminal and type it"
        )
    return given


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where the ring of a state lies and what wraps a new one.

    Attributes:
        file: the ring's file; None: `keys/<state>.json` in the user's configuration folder.
        passphrase: wrap a new ring with a passphrase; else with the systemd credential `edgepers` where there is one.
    """

    file: Path | None = None
    passphrase: bool = False

    def path(self, state: str) -> Path:
        """The file of the key ring."""
        if self.file is not None:
            return self.file.expanduser().resolve()
        base = os.environ.get("XDG_CONFIG_HOME")
        return (Path(base) if base else Path("~/.config").expanduser()) / "edgepers" / "keys" / f"{state}.json"


def key_source(settings: Settings) -> KeySource:
    """Where a state with these settings has its keys."""
    return KeySource(None if settings.key_file is None else Path(settings.key_file), settings.passphrase)


class KeyRing:
    """The keys of one state by number.

    Attributes:
        path: the ring's file.
        state: identity of the state, bound into every sealed record.
        keys: 32 random bytes each, by number; the newest seals.
    """

    def __init__(self, path: Path, state: str, wrap: dict[str, Any], secret: Callable[[], bytes] | None) -> None:
        self.path = path
        self.state = state
        self.keys: dict[int, bytes] = {}
        self._wrap = wrap
        self._secret = secret
        self._wrapping: bytes | None = None

    @classmethod
    def create(cls, source: KeySource, folder: Path) -> "KeyRing":
        """A new ring for a new state in `folder`, durable when this returns.

        Raises:
            StateError: the file is there already, lies inside the state, or cannot be written.
        """
        state = secrets.token_hex(8)
        path = source.path(state)
        if path.is_relative_to(folder.resolve()):
            raise StateError(
                f"key file {path} lies inside the state folder, where it would be lost with it; give --key-file"
                " elsewhere"
            )
        if path.exists():
            raise StateError(
                f"key file {path} is there already and belongs to another state; give --key-file another name"
            )
        wrap: dict[str, Any] = {"kind": "none"}
        if source.passphrase:
            wrap = {"kind": "passphrase", "salt": secrets.token_hex(16), **_SCRYPT}
        elif _credential() is not None:
            wrap = {"kind": "credential"}
        ring = cls(path, state, wrap, _secret_of(wrap))
        ring.keys = {1: secrets.token_bytes(32)}
        ring._write()
        return ring

    @classmethod
    def open(cls, source: KeySource, state: str, folder: Path) -> "KeyRing":
        """The ring of a state that is there.

        Raises:
            StateError: it is missing, damaged, of another state, or its secret does not fit.
        """
        path = source.path(state)
        ring = cls(path, state, {}, None)
        try:
            ring.reload()
        except FileNotFoundError:
            raise StateError(
                f"state {folder}: its key {path} is missing; restore it or give --key-file, for without it nothing"
                " kept can be read"
            ) from None
        except OSError as error:
            raise StateError(
                f"state {folder}: its key {path} cannot be read ({error.strerror}); mend that or give --key-file"
            ) from None
        return ring

    @property
    def newest(self) -> int:
        """Number of the key that seals."""
        return max(self.keys)

    def reload(self) -> None:
        """Read the key ring's file again."""
        text = self.path.read_bytes()
        try:
            values = json.loads(text)
            if values["format"] > FORMAT:
                raise StateError(
                    f"key file {self.path}: format {values['format']}, this edgepers reads {FORMAT}; update edgepers"
                )
            if values["state"] != self.state:
                raise StateError(
                    f"key file {self.path} belongs to another state ({values['state']}, not {self.state}); give"
                    " --key-file"
                )
            if values["wrap"] != self._wrap:
                self._wrap, self._secret, self._wrapping = values["wrap"], _secret_of(values["wrap"]), None
            sealed = bytes.fromhex(values["keys"])
            self.keys = {int(number): bytes.fromhex(key) for number, key in json.loads(self._unwrapped(sealed)).items()}
        except (ValueError, KeyError, TypeError):
            raise StateError(f"key file {self.path} is damaged; restore it from a copy") from None

    def add(self) -> int:
        """Put a new key on the ring, durably; it seals from now on."""
        self.keys[self.newest + 1] = secrets.token_bytes(32)
        self._write()
        return self.newest

    def drop(self, older_than: int) -> None:
        """Take older keys off the ring, for ever."""
        self.keys = {number: key for number, key in self.keys.items() if number >= older_than}
        self._write()

    def _write(self) -> None:
        keys = json.dumps({str(number): key.hex() for number, key in self.keys.items()}).encode()
        text = json.dumps(
            {"format": FORMAT, "state": self.state, "wrap": self._wrap, "keys": self._wrapped(keys).hex()}
        )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with contextlib.ExitStack() as stack:
                old = stack.enter_context(self.path.open("r+b")) if self.path.exists() else None
                replace_file(self.path, text, mode=0o600)
                if old is not None:
                    old.write(bytes(os.fstat(old.fileno()).st_size))
                    old.flush()
                    os.fsync(old.fileno())
        except OSError as error:
            raise StateError(
                f"key file {self.path} cannot be written ({error.strerror}); give --key-file a place outside the state"
                " that can be"
            ) from None

    def _key_that_wraps(self) -> bytes | None:
        if self._secret is not None and self._wrapping is None:
            self._wrapping = self._secret()
        return self._wrapping

    def _wrapped(self, data: bytes) -> bytes:
        key = self._key_that_wraps()
        if key is None:
            return data
        nonce = os.urandom(12)
        return nonce + AESGCM(key).encrypt(nonce, data, self.state.encode())

    def _unwrapped(self, data: bytes) -> bytes:
        key = self._key_that_wraps()
        if key is None:
            return data
        try:
            return AESGCM(key).decrypt(data[:12], data[12:], self.state.encode())
        except InvalidTag:
            self._wrapping = None
            kind = self._wrap["kind"]
            raise StateError(
                f"key file {self.path}: the {kind} does not fit; give the one that the state was made with"
            ) from None


def _secret_of(wrap: dict[str, Any]) -> Callable[[], bytes] | None:
    """What gives the wrapping key: None for no wrapping."""

    def passphrase() -> bytes:
        derive = Scrypt(salt=bytes.fromhex(wrap["salt"]), length=32, n=wrap["n"], r=wrap["r"], p=wrap["p"])
        return derive.derive(_typed_passphrase().encode())

    def credential() -> bytes:
        path = _credential()
        if path is None:
            raise StateError(
                f"the state's key is wrapped with the systemd credential {CREDENTIAL!r}, which is not here; "
                f"run it in its unit, or set CREDENTIALS_DIRECTORY"
            )
        return HKDF(SHA256(), 32, None, b"edgepers key ring").derive(path.read_bytes())

    return {"none": None, "passphrase": passphrase, "credential": credential}[wrap["kind"]]
