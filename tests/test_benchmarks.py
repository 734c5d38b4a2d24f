import json
import subprocess
import sys
from pathlib import Path

from tests.ops.test_native import built


@built
def test_benchmark_of_the_ops_runs_at_its_smallest(tmp_path):
    out = tmp_path / "ops.jsonl"
    command = [sys.executable, "-m", "benchmarks.bench_ops", "--quick", "--out", str(out)]
    subprocess.run(command, cwd=Path(__file__).parents[1], check=True, capture_output=True)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert {row["op"] for row in rows} == {"score_tokens", "nearest_distance", "dissimilarity_from_sums"}
    for row in rows:
        assert row["p20_ms"] <= row["p50_ms"] <= row["p80_ms"]
        assert row["copy_gb_s"] > 0 and row["device"] and row["commit"] and "power_mode" in row


def test_benchmark_of_the_selector_runs_at_its_smallest(tmp_path):
    out = tmp_path / "selector.jsonl"
    command = [sys.executable, "-m", "benchmarks.bench_selector", "--quick", "--folder", str(tmp_path), "--out", str(out)]
    subprocess.run(command, cwd=Path(__file__).parents[1], check=True, capture_output=True)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert {row["case"] for row in rows} == {"growth", "stream", "durable", "wear", "kcenter"}
    durable = {row["name"]: row for row in rows if row["case"] == "durable"}
    assert durable["random"]["admitted_p50_us"] > 0 and durable["random"]["fsync_p50_us"] > 0
    assert all(row["commit"] and row["command"] for row in rows)
