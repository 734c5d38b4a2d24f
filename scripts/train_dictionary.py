r"""Train the dictionaries of edgepers/state/compress.py, and show what they save on text that they have not seen.

    python scripts/train_dictionary.py dolly.jsonl memorybank_users.jsonl --unseen alpaca.jsonl \
        --out edgepers/state/dictionaries

Half of each file (by a hash of the question) trains, the other half and `--unseen` are only measured. Ship only what
was trained on text that may ship. An existing version is never overwritten: records are written with it.
"""

import argparse
import hashlib
import json
import zlib
from pathlib import Path

import numpy as np
import zstandard

from edgepers.state import compress
from edgepers.state.embedding import quantize

TEXT_BYTES, EMBEDDING_BYTES = 112_640, 1_024


def texts(path: Path) -> list[tuple[str, bytes]]:
    """(question, record's text) of each set."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    return [
        (r["question"], json.dumps(["", r["question"], r["reference"], None], ensure_ascii=False).encode())
        for r in rows
    ]


def seen(question: str) -> bool:
    """Whether a set trains."""
    return hashlib.sha256(question.encode()).digest()[0] % 2 == 0


def main() -> None:
    """Train what is missing, measure all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--unseen", nargs="*", type=Path, default=[])
    parser.add_argument("--out", required=True, type=Path)
    args = parser.parse_args()
    text_file, embedding_file = (args.out / f"{kind}-{compress.VERSION}.zstd" for kind in ("text", "embedding"))
    if not text_file.exists():
        train = [text for path in args.files for question, text in texts(path) if seen(question)]
        text_file.write_bytes(zstandard.train_dictionary(TEXT_BYTES, train, level=19).as_bytes())
    if not embedding_file.exists():
        unit = np.random.default_rng(0).standard_normal((4000, 256)).astype(np.float32)
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
        rows = [row.tobytes() for row in quantize(unit)]
        embedding_file.write_bytes(zstandard.train_dictionary(EMBEDDING_BYTES, rows, level=19).as_bytes())
    for path in [*args.files, *args.unseen]:
        held_out = [text for question, text in texts(path) if path in args.unseen or not seen(question)]
        raw, packed, plain = (
            sum(map(len, held_out)),
            sum(len(compress.compress_text(t)) for t in held_out),
            sum(len(zlib.compress(t, 9)) for t in held_out),
        )
        n = len(held_out)
        print(
            f"{path.name}: {n} unseen sets, {raw / n:.0f} bytes a set; zlib {plain / n:.0f}; with the dictionary"
            f" {packed / n:.0f}"
        )


if __name__ == "__main__":
    main()
