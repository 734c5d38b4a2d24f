"""What the page says of costs, against the lines that it is made from."""

import json

from benchmarks.cost_claims import cost_claims
from benchmarks.harness import RESULTS


def numbers(folder=RESULTS):
    return {claim: number for claim, _, number in cost_claims(folder)}


def test_without_a_line_everything_is_untested(tmp_path):
    assert set(numbers(tmp_path).values()) == {"untested"}


def test_every_number_is_that_of_its_lines():
    found = numbers()
    train = {
        row["name"]: row
        for row in map(json.loads, (RESULTS / "train_0.2B.jsonl").read_text(encoding="utf-8").splitlines())
    }
    told = next(number for claim, number in found.items() if claim.startswith("training, 0.2B"))
    ratio = train["ours"]["tokens_per_second"] / train["peft"]["tokens_per_second"]
    assert f"peft {ratio:.1f} times at {train['ours']['peak_bytes'] / train['peft']['peak_bytes']:.0%}" in told
    ops = [json.loads(line) for line in (RESULTS / "ops.jsonl").read_text(encoding="utf-8").splitlines()]
    group = {row["name"]: row["p50_ms"] for row in ops if row.get("group") == "score_tokens float32 d=256 B=512"}
    fastest = min(time for name, time in group.items() if name not in ("ours", "compiled")) / group["ours"]
    least, most = (float(part.split()[0]) for part in found[next(iter(found))].split(" to "))
    assert 1 < least <= fastest <= most + 0.05
    assert all(number for number in found.values())


def test_the_command_of_each_claim_is_one_that_there_is():
    for _, command, _ in cost_claims():
        if command.startswith("python -m "):
            module = command.split()[2].split(".")[1]
            assert (RESULTS.parent / f"{module}.py").is_file(), command
