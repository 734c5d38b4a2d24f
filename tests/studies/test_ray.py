"""The ROUGE-1 study on a Ray cluster of this machine alone."""

import json
import os
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="Ray is not installed: pip install 'edgepers[sweep]'")

from studies.rouge1.ray_cells import make_on_ray
from studies.rouge1.run import wanted_cells


def found_by(cell, folder, part, cache, model):
    """In place of a cell's minutes; one worker dies the first time that it is at its cell."""
    mark = Path(folder) / "died"
    if cell.policy == "quality" and cell.seed == 1 and not mark.exists():
        mark.touch()
        os._exit(1)
    return {"rouge1": [0.25, 0.5], "part": part}, {"device": "cpu", "worker": os.getpid()}


def test_a_lost_worker_loses_only_its_cell_and_the_next_call_makes_it(tmp_path, capsys):
    cells = {"made": list(wanted_cells("made", ["random", "quality"], ["base", "repeat"], [0, 1], share=0.05, steps=2))}
    out = tmp_path / "lines.jsonl"
    lost = make_on_ray("local", tmp_path, "development", tmp_path, cells=cells, out=out, found_by=found_by)
    assert lost == 1
    assert "lost: Cell(data='made', policy='quality', arm='repeat', seed=1" in capsys.readouterr().out
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == len(cells["made"]) - 1 == 4
    assert all(line["rouge1"] == [0.25, 0.5] and line["worker"] != os.getpid() for line in lines)
    assert make_on_ray("local", tmp_path, "development", tmp_path, cells=cells, out=out, found_by=found_by) == 0
    again = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert again[:4] == lines and len(again) == 5
    assert (again[4]["policy"], again[4]["seed"]) == ("quality", 1)
