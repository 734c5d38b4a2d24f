"""What storing an embedding as int8, and projecting a wide one to 512 first, does to neighbours and to IDD.

    python -m benchmarks.stored_embeddings ../shared/data

Against the float64 embeddings of the same sets: the share of sets whose nearest neighbour stays the same, and the error
of IDD inside lexicon domains. Width 256 is the packaged model's own embedding (centered as the selector does it); width
2048 is made of the mean hidden states of all its layers side by side, centered, since no wide model is at hand: real
activations, but not a wide model's.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.harness import describe
from edgepers.model.language_model import LanguageModel
from edgepers.ops.dissimilarity.formula import distance
from edgepers.select.lexicon import load_lexicons
from edgepers.state.embedding import quantize, scale
from edgepers.streams import read_dialogue_sets

RESULTS = Path(__file__).parent / "results" / "stored_embeddings.jsonl"
Rows = npt.NDArray[np.float64]


@torch.inference_mode()
def layers_of(llm: LanguageModel, texts: list[str]) -> Rows:
    """Mean hidden state of each layer, side by side: [texts, layers * hidden size]."""
    rows = []
    for text in texts:
        ids = torch.tensor([llm.token_ids(text)[:512] or [0]])
        states = llm._model.model(ids, output_hidden_states=True).hidden_states[1:]
        rows.append(torch.cat([state[0].mean(0) for state in states]).double().numpy())
    return np.stack(rows)


def unit(rows: Rows) -> Rows:
    """Centered, of length 1."""
    centered = rows - rows[:256].mean(0)
    found: Rows = centered / np.linalg.norm(centered, axis=1, keepdims=True)
    return found


def nearest(similarity: Rows) -> npt.NDArray[np.int64]:
    """Row of the nearest other one."""
    similarity = similarity.copy()
    np.fill_diagonal(similarity, -np.inf)
    found: npt.NDArray[np.int64] = similarity.argmax(1)
    return found


def compared(exact: Rows, domains: npt.NDArray[np.int64]) -> Iterator[tuple[str, float]]:
    """Figures of one data set at one width."""
    stored = quantize(exact.astype(np.float32)).astype(np.int64)
    width = stored.shape[1]
    similarity, kept = exact @ exact.T, stored @ stored.T / scale(width) ** 2
    yield "nearest_kept", float((nearest(similarity) == nearest(kept)).mean())
    best = nearest(similarity)
    order = np.argsort(-(kept - 2 * np.eye(len(kept))), axis=1)[:, :5]
    yield "nearest_in_top_5", float((order == best[:, None]).any(1).mean())
    errors = []
    for domain in np.unique(domains):
        rows = np.flatnonzero(domains == domain)
        if len(rows) < 2:
            continue
        true = 1 - (similarity[np.ix_(rows, rows)].sum(1) - 1) / (len(rows) - 1)
        dots = (stored[rows] * (stored[rows].sum(0) - stored[rows])).sum(1)
        errors.append(np.abs(distance(dots, (len(rows) - 1) * scale(width) ** 2) - true))
    flat = np.concatenate(errors)
    yield "idd_error_mean", float(flat.mean())
    yield "idd_error_max", float(flat.max())


def main() -> None:
    """Measure each data set, print and append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--limit", type=int, default=600)
    args = parser.parse_args()
    llm, lexicons = LanguageModel.load(bits=16), load_lexicons()
    with RESULTS.open("w", encoding="utf-8") as file:
        for path in sorted(args.data.glob("*.jsonl")):
            texts = [f"{d.question}\n{d.reference}" for d in read_dialogue_sets(path)[: args.limit]]
            names = [lexicons.domain_score(text).domain for text in texts]
            domains = np.unique(names, return_inverse=True)[1].astype(np.int64)
            wide = layers_of(llm, texts)
            for rows in (wide[:, -256:], wide):
                line: dict[str, Any] = {
                    "data": path.stem,
                    "sets": len(texts),
                    "width": rows.shape[1],
                    "stored": 256 if rows.shape[1] == 256 else 512,
                }
                line |= {name: round(value, 5) for name, value in compared(unit(rows), domains)}
                print(line, flush=True)
                file.write(json.dumps(line | {"machine": describe()}) + "\n")


if __name__ == "__main__":
    main()
