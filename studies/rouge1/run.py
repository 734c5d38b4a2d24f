r"""Makes the ROUGE-1 study's cells: PROTOCOL.md says what one is.

Run: python -m studies.rouge1.run ../shared/data --part development --data dolly --policies random,quality \
         --arms repeat --seeds 0,1

One JSON line a cell in studies/rouge1/results/<part>.jsonl, with the measures of every row, so that everything after is
made from the lines. Cells that are there are not made again. `--part test` is for what PROTOCOL.md fixes, and nothing
else. `--data owners` is each of MemoryBank's users. `--ray ADDRESS` makes the cells on a Ray cluster, `--ray local` on
this machine's cores: extra `sweep`.
"""

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.harness import describe
from edgepers.model.heap import tune_malloc
from edgepers.model.language_model import LanguageModel
from studies.rouge1 import RESULTS
from studies.rouge1.cells import POLICIES, REFERENCES, ROUNDS, SHARE, STEPS, Cell, Work
from studies.rouge1.lines import keep, missing_cells
from studies.rouge1.splits import CONFIRMATORY, OWNERS, rows_of


def wanted_cells(
    data: str,
    policies: Sequence[str],
    arms: Sequence[str],
    seeds: Sequence[int],
    *,
    share: float,
    steps: int,
    rounds: int = ROUNDS,
) -> Iterator[Cell]:
    """Those asked for, seed by seed; a reference that does not depend on the seed is one cell."""
    for seed, arm in itertools.product(seeds, arms):
        if arm not in REFERENCES:
            yield from (Cell(data, policy, arm, seed, share, steps, rounds) for policy in policies)
        elif arm == "all" or seed == seeds[0]:
            yield Cell(data, "", arm, seed if arm == "all" else 0, share)


def make(work_on: Callable[[str], Work], cells: Mapping[str, Sequence[Cell]], out: Path, most: float) -> None:
    """Append the lines that are not there; begins no cell after `most` seconds."""
    machine, began = describe(), time.monotonic()
    for data, missing in missing_cells(cells, out).items():
        work = work_on(data)
        for cell in missing:
            if time.monotonic() - began > most:
                return
            keep(cell, work.cell(cell), machine, out)


def main() -> None:
    """Make the cells asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of data sets")
    parser.add_argument("--part", choices=("development", "test"), default="development")
    parser.add_argument("--data", default=",".join(CONFIRMATORY))
    parser.add_argument("--policies", default=",".join(POLICIES))
    parser.add_argument("--arms", default=",".join(("base", "echo", "constant", "repeat", "synthesis")))
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--share", type=float, default=SHARE, help="of the stream's stored bytes")
    parser.add_argument("--steps", type=int, default=STEPS, help="of the arms repeat and synthesis")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of those that a whole stream has")
    parser.add_argument("--model")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(tempfile.gettempdir()) / "edgepers-rouge1",
        help="of the base model's answers",
    )
    parser.add_argument("--seconds", type=float, default=float("inf"), help="after which no cell is begun")
    parser.add_argument("--ray", default="", metavar="ADDRESS", help="of a Ray cluster, or local")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    tune_malloc()
    seeds = [int(seed) for seed in args.seeds.split(",")]

    names, policies, arms = (given.split(",") for given in (args.data, args.policies, args.arms))
    if names == ["owners"]:
        names = [f"{OWNERS}:{user}" for user in dict.fromkeys(row["user"] for row in rows_of(args.folder, OWNERS))]
    cells = {
        name: list(wanted_cells(name, policies, arms, seeds, share=args.share, steps=args.steps, rounds=args.rounds))
        for name in names
    }
    out = args.out or RESULTS / f"{args.part}.jsonl"
    if args.ray:
        from studies.rouge1.ray_cells import make_on_ray

        raise SystemExit(
            make_on_ray(args.ray, args.folder.resolve(), args.part, args.cache, model=args.model, cells=cells, out=out)
        )
    llm = LanguageModel.load(args.model)
    make(lambda name: Work(llm, args.folder, name, args.part, args.cache), cells, out, args.seconds)


if __name__ == "__main__":
    main()
