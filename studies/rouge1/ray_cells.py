"""Cells of the ROUGE-1 study on a Ray cluster. A worker that is lost loses the cell that it was at, and nothing else.

Every node needs this checkout, its environment and the data sets at the same paths. A cell takes one core; lines are
written by the one process that asked.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import describe
from studies.rouge1.cells import Cell, Work
from studies.rouge1.lines import keep, missing_cells

__all__ = ["make_on_ray"]

Found = tuple[dict[str, Any], dict[str, Any]]


@functools.lru_cache(maxsize=1)
def _work(data: str, folder: Path, part: str, cache: Path, model: str | None) -> Work:
    """What a worker prepares once and uses for all cells of a data set that it is given."""
    from edgepers.model.heap import tune_malloc
    from edgepers.model.language_model import LanguageModel

    tune_malloc()
    return Work(LanguageModel.load(model), folder, data, part, cache)


def cell_found(cell: Cell, folder: Path, part: str, cache: Path, model: str | None) -> Found:
    """A cell's measures, and the machine that made it."""
    return _work(cell.data, folder, part, cache, model).cell(cell), describe()


def make_on_ray(
    address: str,
    folder: Path,
    part: str,
    cache: Path,
    *,
    cells: Mapping[str, Sequence[Cell]],
    out: Path,
    model: str | None = None,
    found_by: Callable[..., Found] = cell_found,
) -> int:
    """Make what is missing; returns how many cells were lost, which the next call makes.

    Args:
        address: of a cluster; "local" starts one here for as long as it takes.
        folder: of data sets, on every node.
        part: "development" or "test".
        cache: of the base model's answers, on every node.
        cells: by data set.
        out: where lines go.
        model: None for the packaged one.
        found_by: makes a cell, on a worker.
    """
    try:
        import ray
    except ModuleNotFoundError:
        raise SystemExit("--ray needs Ray; install it with: pip install 'edgepers[sweep]'") from None
    ray.init(address=None if address == "local" else address, include_dashboard=False, log_to_driver=False)
    try:
        remote = ray.remote(num_cpus=1, max_retries=0)(found_by)
        wanted = [cell for of in missing_cells(cells, out).values() for cell in of]
        running = {remote.remote(cell, folder, part, cache, model): cell for cell in wanted}
        lost = 0
        while running:
            (done,), _ = ray.wait(list(running), num_returns=1)
            cell = running.pop(done)
            try:
                found, machine = ray.get(done)
            except ray.exceptions.RayError as error:
                lost += 1
                reason = str(error).strip().splitlines()
                print(
                    f"lost: {cell}: {reason[-1] if reason else type(error).__name__}; run again to make it", flush=True
                )
            else:
                keep(cell, found, machine, out)
        return lost
    finally:
        ray.shutdown()
