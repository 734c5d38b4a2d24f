import json
import os

import pytest

from edgepers.errors import StateError
from edgepers.privacy.keyring import CREDENTIAL, PASSPHRASE, KeyRing, KeySource
from edgepers.privacy.sealer import OVERHEAD_BYTES, DamagedError, Sealer


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.delenv(PASSPHRASE, raising=False)
    return tmp_path / "config"


def test_a_ring_comes_back_and_only_its_owner_may_read_it(tmp_path, config):
    ring = KeyRing.create(KeySource(), tmp_path / "state")
    assert ring.path.is_relative_to(config)
    assert ring.path.stat().st_mode & 0o777 == 0o600
    again = KeyRing.open(KeySource(), ring.state, tmp_path / "state")
    assert again.keys == ring.keys
    assert [len(key) for key in again.keys.values()] == [32]


def test_two_states_never_share_a_key(tmp_path):
    first, second = (KeyRing.create(KeySource(), tmp_path / name) for name in "ab")
    assert first.keys[1] != second.keys[1]
    sealed = Sealer(first).seal(b"words", "set 1")
    with pytest.raises(DamagedError):
        Sealer(second).open(sealed, "set 1", 1)


def test_what_is_sealed_opens_only_whole_under_its_own_name_and_key(tmp_path):
    ring = KeyRing.create(KeySource(), tmp_path / "state")
    sealer = Sealer(ring)
    sealed = sealer.seal(b"words", "set 1")
    assert len(sealed) == 5 + OVERHEAD_BYTES
    assert sealer.open(sealed, "set 1", 1) == b"words"
    assert sealer.seal(b"words", "set 1") != sealed
    for i in range(len(sealed)):
        with pytest.raises(DamagedError):
            sealer.open(sealed[:i] + bytes([sealed[i] ^ 1]) + sealed[i + 1 :], "set 1", 1)
    for wrong in ((sealed, "set 2", 1), (sealed, "set 1", 2), (sealed[:10], "set 1", 1), (b"", "set 1", 1)):
        with pytest.raises(DamagedError):
            sealer.open(*wrong)


def test_a_dropped_key_is_gone_and_its_bytes_were_overwritten(tmp_path):
    ring = KeyRing.create(KeySource(), tmp_path / "state")
    sealer, old = Sealer(ring), ring.keys[1]
    reader = Sealer(KeyRing.open(KeySource(), ring.state, tmp_path / "state"))
    sealed = sealer.seal(b"words", "set 1")
    with ring.path.open("rb") as before:
        sealer.add_key()
        assert sealer.key == 2
        assert set(before.read()) == {0}
    assert reader.open(sealer.seal(b"new", "set 2"), "set 2", 2) == b"new", "a reader learns of the new key"
    with ring.path.open("rb") as before:
        sealer.drop_keys(older_than=2)
        assert set(before.read()) == {0}
    with pytest.raises(DamagedError):
        sealer.open(sealed, "set 1", 1)
    assert old.hex().encode() not in b"".join(f.read_bytes() for f in ring.path.parent.iterdir())


def test_a_passphrase_wraps_the_ring(tmp_path, monkeypatch):
    monkeypatch.setenv(PASSPHRASE, "correct horse")
    ring = KeyRing.create(KeySource(passphrase=True), tmp_path / "state")
    assert ring.keys[1].hex() not in ring.path.read_text()
    assert KeyRing.open(KeySource(), ring.state, tmp_path / "state").keys == ring.keys
    monkeypatch.setenv(PASSPHRASE, "wrong horse")
    with pytest.raises(StateError, match="passphrase does not fit"):
        KeyRing.open(KeySource(), ring.state, tmp_path / "state")
    monkeypatch.delenv(PASSPHRASE)
    with pytest.raises(StateError, match=f"set {PASSPHRASE}"):
        KeyRing.open(KeySource(), ring.state, tmp_path / "state")


def test_a_systemd_credential_wraps_the_ring(tmp_path, monkeypatch):
    (tmp_path / CREDENTIAL).write_bytes(os.urandom(32))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    ring = KeyRing.create(KeySource(), tmp_path / "state")
    assert ring.keys[1].hex() not in ring.path.read_text()
    ring.add()
    assert KeyRing.open(KeySource(), ring.state, tmp_path / "state").keys == ring.keys
    (tmp_path / CREDENTIAL).write_bytes(os.urandom(32))
    with pytest.raises(StateError, match="credential does not fit"):
        KeyRing.open(KeySource(), ring.state, tmp_path / "state")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    with pytest.raises(StateError, match="systemd credential"):
        KeyRing.open(KeySource(), ring.state, tmp_path / "state")


def test_what_cannot_be_a_key_file_is_one_line(tmp_path, config):
    state = tmp_path / "state"
    with pytest.raises(StateError, match="inside the state folder"):
        KeyRing.create(KeySource(state / "key.json"), state)
    there = KeySource(tmp_path / "there.json")
    ring = KeyRing.create(there, state)
    with pytest.raises(StateError, match="belongs to another state"):
        KeyRing.create(there, state)
    with pytest.raises(StateError, match="belongs to another state"):
        KeyRing.open(there, "0123", state)
    with pytest.raises(StateError, match=r"is missing; restore it or give --key-file"):
        KeyRing.open(KeySource(), ring.state, state)
    whole = json.loads(ring.path.read_text())
    for wrong in ("", "{", "[]", json.dumps(whole | {"keys": "zz"}), json.dumps(whole | {"wrap": {"kind": "magic"}})):
        ring.path.write_text(wrong)
        with pytest.raises(StateError, match="is damaged; restore it"):
            KeyRing.open(there, ring.state, state)
    ring.path.write_text(json.dumps(whole | {"format": 9}))
    with pytest.raises(StateError, match="format 9"):
        KeyRing.open(there, ring.state, state)
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(StateError, match="cannot be written"):
        KeyRing.create(KeySource(blocked / "key.json"), state)
