import json

import numpy as np
import pytest

from edgepers.assets import sample_stream
from edgepers.cli import main
from edgepers.config import Settings
from edgepers.personalize import Personalizer
from edgepers.report.overview import spearman
from edgepers.state.progress import MOST_SPANS, Progress

QUICK = {
    "annotations": "gold",
    "every": 24,
    "annotations_per_round": 4,
    "generations": 0,
    "steps": 2,
    "storage": 64_000,
    "rehearsal": 0,
}


@pytest.fixture(scope="module")
def made(llm, tmp_path_factory):
    folder = tmp_path_factory.mktemp("overview") / "state"
    with Personalizer(folder, Settings.make(QUICK), llm=llm) as owner:
        owner.run(sample_stream(), limit=40)
    return folder


def test_spearman_is_the_correlation_of_ranks():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 9, 50)
    y = x + rng.integers(0, 9, 50)
    ranks = [np.array([(v < a).sum() + ((v == a).sum() + 1) / 2 for a in v]) for v in (x, y)]
    assert spearman(x, y) == pytest.approx(np.corrcoef(*ranks)[0, 1])
    assert spearman([1, 2, 3, 4], [1, 8, 27, 64]) == pytest.approx(1)
    assert spearman([1, 1, 1], [1, 2, 3]) is None and spearman([], []) is None


def test_admissions_over_time_take_bounded_room_and_lose_none():
    progress = Progress()
    for position in [*range(0, 100), 600, 5000, 5001, 99_999]:
        progress = progress.set_admitted(position)
        assert len(progress.admissions) <= MOST_SPANS
    assert sum(progress.admissions) == 104
    assert progress.admissions_span * MOST_SPANS > 99_999
    assert progress.admissions[5000 // progress.admissions_span] >= 2


def test_status_tells_and_draws_the_state(made, tmp_path, capsys):
    picture = tmp_path / "state.png"
    assert main(["status", "--state", str(made), "--json", "--plot", str(picture)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert sum(found["admissions"]["admitted"]) == found["admitted"]
    assert sum(found["domains"].values()) == found["buffer_sets"] == len(found["kept"]["age"])
    assert found["mean_age"] == pytest.approx(np.mean(found["kept"]["age"]))
    assert found["asked"] == found["answered"] == sum(found["kept"]["annotated"])
    assert set(found["length_correlation"]) == {"entropy", "domain_score", "dissimilarity"}
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 20_000
    assert main(["status", "--state", str(made)]) == 0
    shown = capsys.readouterr().out
    assert "█" in shown and "next round at" in shown and "asked, answered" in shown


def test_a_picture_that_cannot_be_drawn_is_one_line(made, tmp_path, capsys):
    assert main(["status", "--state", str(made), "--plot", str(tmp_path / "x.doc")]) == 2
    assert main(["status", "--state", str(made), "--plot", str(tmp_path / "no" / "x.png")]) == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 2


def test_status_loads_no_torch(made):
    import subprocess
    import sys

    code = (
        "import sys\nfrom edgepers.cli import main\nmain(['status', '--state',"
        f" {str(made)!r}])\nsys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_explain_says_a_line_a_set(tmp_path, capsys):
    stream = tmp_path / "s.jsonl"
    stream.write_text(
        "".join(sample_stream().read_text(encoding="utf-8").splitlines(keepends=True)[:6]), encoding="utf-8"
    )
    assert main(["select", str(stream), "--state", str(tmp_path / "state"), "--explain"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "kept: there was room" in line]
    assert len(lines) == 6 and lines[0].startswith("     0  ")
