"""Everything kept, for its owner, in the clear."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edgepers.errors import UsageError
from edgepers.files import replace_file
from edgepers.state.buffer import Buffer
from edgepers.state.folder import State

__all__ = ["owner_data", "write_owner_data"]


def owner_data(state: State, buffer: Buffer) -> Iterator[dict[str, Any]]:
    """Yield one record a kept set, in order of arrival.

    It holds the set's words, verdict and scores, and the variations that were written of it.

    `question`, `response` and `reference` are named as a stream names them: what was exported can be read in again.
    """
    variations = state.variations(buffer.sealer)
    for kept in buffer:
        varied = variations.get(kept.position)
        yield {
            "position": kept.position,
            "id": kept.id or None,
            "question": kept.question,
            "response": kept.response,
            "reference": kept.reference,
            "verdict": kept.verdict or None,
            "asked_in_round": kept.asked or None,
            "repeats": kept.repeats,
            "doubted": kept.doubted,
            "domain": kept.domain,
            "entropy": kept.entropy,
            "domain_score": kept.domain_score,
            "variations": [{"question": question, "response": response} for question, response in varied.pairs]
            if varied
            else [],
        }


def write_owner_data(path: Path, records: Sequence[dict[str, Any]]) -> None:
    """Write JSON Lines that only their owner may read.

    Raises:
        UsageError: the file is there already.
    """
    if path.exists():
        raise UsageError(f"--out {path} is there already; give another name")
    replace_file(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), mode=0o600)
