"""Authenticated encryption of records: AES-256-GCM with a random nonce, and the record's identity bound in."""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from edgepers.privacy.keyring import KeyRing

__all__ = ["OVERHEAD_BYTES", "DamagedError", "Sealer"]

_NONCE_BYTES = 12
OVERHEAD_BYTES = _NONCE_BYTES + 16  # nonce and tag


class DamagedError(Exception):
    """A sealed record that does not open.

    Some byte of it, or of what it is bound to, has changed, or it was sealed with another key.
    """


class Sealer:
    """Seals with the newest key of a ring and opens with any of them.

    Args:
        ring: whose keys are used; bound into every record is the ring's state, the record's name and the key's number.
    """

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring
        self._ciphers: dict[int, AESGCM] = {}

    @property
    def key(self) -> int:
        """Number of the key that `seal` uses."""
        return self._ring.newest

    def add_key(self) -> None:
        """Seal with a new key from now on."""
        self._ring.add()

    def drop_keys(self, older_than: int) -> None:
        """Destroy older keys: what only they open is gone."""
        self._ring.drop(older_than)
        self._ciphers = {number: cipher for number, cipher in self._ciphers.items() if number >= older_than}

    def _cipher(self, key: int) -> AESGCM:
        if key not in self._ring.keys:
            self._ring.reload()  # another process may have rotated it since
        if key not in self._ring.keys:
            raise DamagedError(f"key {key} is not on the ring")
        if key not in self._ciphers:
            self._ciphers[key] = AESGCM(self._ring.keys[key])
        return self._ciphers[key]

    def _bound(self, name: str, key: int) -> bytes:
        return f"{self._ring.state}/{name}/{key}".encode()

    def seal(self, data: bytes, name: str) -> bytes:
        """Nonce, ciphertext and tag of a record: `OVERHEAD_BYTES` longer than it."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher(self.key).encrypt(nonce, data, self._bound(name, self.key))

    def open(self, sealed: bytes, name: str, key: int) -> bytes:
        """What was sealed under this name with this key.

        Raises:
            DamagedError: it is not that.
        """
        try:
            return self._cipher(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], self._bound(name, key))
        except (InvalidTag, ValueError):
            raise DamagedError(f"{name} does not open with key {key}") from None
