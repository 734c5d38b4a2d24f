"""Forget kept sets: they go, and so does every adapter that learned from them."""

import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from edgepers.errors import StateError, UsageError
from edgepers.state.buffer import Buffer
from edgepers.state.folder import CHECKPOINT, State
from edgepers.state.records import KeptSet

__all__ = ["find", "finish_forgetting", "forget", "learned_from"]


def find(
    buffer: Buffer, *, name: str | None = None, matching: str | None = None, everything: bool = False
) -> list[KeptSet]:
    """The kept sets that are meant.

    Args:
        buffer: open.
        name: an id of the stream, or a position as `select --explain` names it.
        matching: text in question, response or reference, in any case.
        everything: all of them.

    Raises:
        UsageError: none or several of these are given.
        StateError: nothing kept is meant.
    """
    if (name is not None) + (matching is not None) + everything != 1:
        raise UsageError("say what to forget: an id, --matching TEXT, or --all")
    if everything:
        return list(buffer)
    if matching is not None:
        if not matching.strip():
            raise UsageError("--matching is empty; give a word to look for, or --all")
        low = matching.casefold()
        found = [
            kept
            for kept in buffer
            if any(low in (text or "").casefold() for text in (kept.question, kept.response, kept.reference))
        ]
    else:
        found = [kept for kept in buffer if name and (kept.id == name or str(kept.position) == name)]
    if not found:
        what = f"holds {matching!r}" if matching is not None else f"is called {name!r}"
        cure = "" if name is None else "; one that was asked again is kept under the first one's id: try --matching"
        raise StateError(f"nothing kept {what}; nothing was forgotten{cure}")
    return found


def learned_from(report: Mapping[str, Any]) -> list[int]:
    """Positions of all sets that a round's adapter has learned from, itself or by what it went on from."""
    return sorted({*report["trained_on"], *report["recurring"], *report["inherited"], *report["rejected"]})


def forget(state: State, buffer: Buffer, sets: Sequence[KeptSet]) -> dict[str, Any]:
    """Delete sets with their variations, withdraw the adapters trained on them, and replace the key.

    This needs no model.

    The newest earlier adapter that never saw them is published again, or else the base model. The next round starts
    from the base anyway. With the old key goes whatever the disk still holds of the sets: freed pages, and copies of
    the state folder.

    Returns:
        `forgotten` (positions), `withdrawn` (adapters), `published` (now; None for the base model).
    """
    positions = {kept.position for kept in sets}
    with buffer.lock:
        tainted = [
            done["adapter"]
            for done in state.round_reports(buffer.progress.rounds)
            if done["adapter"] and positions.intersection(learned_from(done))
        ]
        buffer.forget(sorted(positions), buffer.progress.adapters_withdrawn(tuple(tainted)))
        finish_forgetting(state, buffer)
    return {"forgotten": sorted(positions), "withdrawn": tainted, "published": buffer.progress.published or None}


def finish_forgetting(state: State, buffer: Buffer) -> None:
    """What follows when sets were deleted; called again when a state opens, in case power failed in between."""
    progress = buffer.progress
    if not progress.retired_key and not progress.withdrawn:
        return
    state.mirror_published(progress.published)
    for name in progress.withdrawn:
        shutil.rmtree(state.adapters / name, ignore_errors=True)
    if progress.withdrawn:
        state.delete_upstream_files()
        buffer.save(progress.withdrawal_done())
    if progress.retired_key:
        (state.adapters / CHECKPOINT).unlink(missing_ok=True)  # of a training that was interrupted
        buffer.add_key()
        varied = {position: v for position, v in state.variations(buffer.sealer).items() if position in buffer.marks}
        state.save_variations(varied, buffer.sealer)
        buffer.rotate()
