"""The state folder beside its buffer: settings, adapters, round reports, variations."""

import json
import shutil
import struct
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from edgepers.config import Settings, Size
from edgepers.errors import StateError, nothing_yet
from edgepers.files import replace_file
from edgepers.privacy.sealer import DamagedError, Sealer
from edgepers.state.variations import Variations

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["CHECKPOINT", "UPSTREAM_ADAPTER", "UPSTREAM_RECORD", "State"]

CHECKPOINT = ".checkpoint.safetensors"  # of a training under way, in the adapters' folder

UPSTREAM_ADAPTER = "edgepers-adapter.gguf"  # as another server reads it, in the folder of what that was given
UPSTREAM_RECORD = "served.json"  # which adapters other servers were given; nothing of it was said

_KEY = struct.Struct("<I")  # number of the key that sealed a file


class State:
    """Names and files of one state folder."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser()
        self.adapters = self.folder / "adapters"
        self.rounds = self.folder / "rounds"
        self._toml = self.folder / "edgepers.toml"
        self.upstream = self.folder / "upstream"  # what another server was given
        self.pending_energy = self.rounds / "energy.json"  # spent since the last round
        self._variations = self.rounds / "variations.sealed"

    # -- settings

    def exists(self) -> bool:
        """Whether a run has made this folder."""
        return self._toml.exists()

    def require(self) -> None:
        """Raises StateError where nothing has been made yet."""
        if not self.exists():
            raise nothing_yet(self.folder)

    def saved_settings(self) -> dict[str, Any]:
        """The settings in edgepers.toml; none where there is no such file.

        Raises:
            StateError: names what is wrong in it.
        """
        if not self.exists():
            return {}
        try:
            values = tomllib.loads(self._toml.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise StateError(f"{self._toml}: {error}; mend it or delete it") from None
        hints = Settings.hints()
        for name, value in values.items():
            if name not in hints:
                raise StateError(f"{self._toml}: unknown setting {name!r}; remove the line")
            kind, _ = hints[name]
            wanted = int if kind is Size else kind
            if not isinstance(value, (int, float) if wanted is float else wanted) or (
                wanted is not bool and isinstance(value, bool)
            ):
                raise StateError(f"{self._toml}: {name} = {value!r} is not of type {wanted.__name__}; mend the line")
        return {name: Size(value) if hints[name][0] is Size else value for name, value in values.items()}

    def settle(self, given: Settings | Mapping[str, Any] | None) -> Settings:
        """Which settings hold: the only place where what is given meets what the state has saved.

        Args:
            given: settings: all of them as they are, with the saved stream where they name none; a mapping: those that
                were named, over what is saved, over the defaults; None names none.

        Raises:
            StateError: the folder was made with another model, number of bits or seed.
            UsageError: a value that cannot be right.
        """
        saved = self.saved_settings()
        now = (
            replace(given, stream=given.stream or saved.get("stream"))
            if isinstance(given, Settings)
            else Settings.make(given or {}, saved)
        )
        for name in ("model", "bits", "seed"):
            before = saved.get(name, getattr(Settings(), name))  # what is unset has no line
            if saved and before != getattr(now, name):
                was, is_now = ("the packaged one" if value is None else value for value in (before, getattr(now, name)))
                raise StateError(
                    f"state {self.folder}: made with {name} {was}, now {is_now}; give --{name} as before, or a new"
                    " --state"
                )
        return replace(now, key_file=_resolved(now.key_file), lexicons=_resolved(now.lexicons))

    def save_settings(self, settings: Settings) -> None:
        """Write edgepers.toml, each setting under its help."""
        values = asdict(settings)
        lines = [f"# {f.metadata['help']}\n{_toml_line(f.name, values[f.name])}\n" for f in fields(Settings)]
        text = "\n".join(lines)
        if not self.exists() or self._toml.read_text(encoding="utf-8") != text:
            replace_file(self._toml, text)

    # -- adapters

    def adapter_folder(self, name: str) -> Path | None:
        """Where an adapter lies; None for the base model."""
        return self.adapters / name if name else None

    def published_folder(self, name: str) -> Path | None:
        """Where an adapter that was published lies; None for the base model.

        Raises:
            StateError: it is gone.
        """
        folder = self.adapter_folder(name)
        if folder is not None and not folder.is_dir():
            cure = f"restore it, or run 'edgepers rollback --state {self.folder}'"
            raise StateError(f"{folder}: the published adapter is gone; {cure}")
        return folder

    def delete_upstream_files(self) -> None:
        """Delete all adapters, whole and half, that were made for other servers; they are made again when one runs."""
        for found in self.upstream.glob("*"):
            if found.is_dir():
                shutil.rmtree(found, ignore_errors=True)
            elif found.name != UPSTREAM_RECORD:
                found.unlink(missing_ok=True)

    def mirror_published(self, name: str) -> None:
        """Make `adapters/current` say which adapter is published.

        The buffer's progress knows; this file is for other programs.
        """
        current = self.adapters / "current"
        if name:
            if not current.exists() or current.read_text().strip() != name:
                replace_file(current, name + "\n")
        else:
            current.unlink(missing_ok=True)

    def prune_adapters(self, keep: int, published: str, earlier: Sequence[str]) -> None:
        """Delete all but the newest adapters; the published one and the one that `rollback` returns to stay."""
        if not self.adapters.is_dir():
            return
        names = sorted(entry.name for entry in self.adapters.iterdir() if entry.is_dir())
        stay = {published, *earlier[-1:]} & set(names)
        others = [name for name in names if name not in stay]
        stay |= set(others[len(others) - max(keep - len(stay), 0) :])
        for name in names:
            if name not in stay:
                shutil.rmtree(self.adapters / name, ignore_errors=True)

    # -- rounds

    def round_reports(self, count: int) -> list[dict[str, Any]]:
        """Reports of the first `count` rounds, those that finished."""
        reports = []
        for number in range(1, count + 1):
            path = self.rounds / f"{number:04}.json"
            try:
                reports.append(json.loads(path.read_text(encoding="utf-8")))
            except (OSError, json.JSONDecodeError) as error:
                raise StateError(f"{path}: {error}; restore it from a copy") from None
        return reports

    def save_round(self, report: Mapping[str, Any]) -> None:
        """Write the report of one round."""
        replace_file(
            self.rounds / f"{report['round']:04}.json", json.dumps(report, indent=1, ensure_ascii=False) + "\n"
        )

    def variations(self, sealer: Sealer) -> dict[int, Variations]:
        """Return the variations written so far, by position of their set.

        There are none where they cannot be read: they are written anew.
        """
        try:
            data = self._variations.read_bytes()
            lines = sealer.open(data[_KEY.size :], "variations", *_KEY.unpack_from(data)).decode().split("\n")
        except (FileNotFoundError, DamagedError, struct.error):
            return {}
        return {variations.position: variations for variations in map(Variations.from_json, filter(None, lines))}

    def save_variations(self, variations: Mapping[int, Variations], sealer: Sealer) -> None:
        """Replace the file of variations; sealed, with the key's number before it."""
        text = "".join(v.to_json() + "\n" for _, v in sorted(variations.items()))
        replace_file(self._variations, _KEY.pack(sealer.key) + sealer.seal(text.encode(), "variations"))


def _resolved(file: str | None) -> str | None:
    return None if file is None else str(Path(file).expanduser().resolve())


def _toml_line(name: str, value: object) -> str:
    return f"# {name} is unset" if value is None else f"{name} = {_toml(value)}"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return (
        json.dumps(value, ensure_ascii=False)
        if isinstance(value, str)
        else repr(int(value) if isinstance(value, Size) else value)
    )
