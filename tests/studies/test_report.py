"""The ROUGE-1 study's statistics against slow definitions, and its page on made-up lines."""

import numpy as np
import pytest

from studies.rouge1.pictures import plot
from studies.rouge1.report import details, report
from studies.rouge1.statistics import Side, differences, drawn_means, holm, p_value
from studies.rouge1.study import RIVAL, Study

FOUR = ("alpaca", "dolly", "empathetic_dialogues", "medical_questiondoctors")
GROUPS = [0, 0, 1, 2, 2, 2]


class Drawn:
    """Draws that are known: first of groups, then of seeds."""

    def __init__(self, *counts):
        self._counts = list(counts)

    def multinomial(self, trials, shares, size):
        counts = np.array(self._counts.pop(0))
        assert counts.shape == (size, len(shares)) and (counts.sum(1) == trials).all()
        return counts


def test_a_draw_takes_whole_dialogues_and_whole_seeds():
    values = np.random.default_rng(0).normal(size=(2, 6))
    groups, seeds = [[2, 0, 1], [1, 1, 1], [0, 3, 0]], [[2, 0], [1, 1], [0, 2]]
    expected = []
    for of_group, of_seed in zip(groups, seeds, strict=True):
        rows = [
            row
            for group, times in enumerate(of_group)
            for _ in range(times)
            for row in range(6)
            if GROUPS[row] == group
        ]
        chosen = [seed for seed, times in enumerate(of_seed) for _ in range(times)]
        expected.append(np.mean([values[seed, row] for seed in chosen for row in rows]))
    assert drawn_means(values, GROUPS, Drawn(groups, seeds), 3) == pytest.approx(expected)


def test_intervals_are_wider_where_rows_of_a_dialogue_are_alike():
    rng = np.random.default_rng(0)
    alike = np.repeat(rng.normal(size=(1, 50)), 8, axis=1)
    apart = rng.normal(size=(1, 400))
    of = list(np.repeat(np.arange(50), 8))
    spread = [float(np.std(drawn_means(values, of, rng, 2000))) for values in (alike, apart)]
    assert spread[0] == pytest.approx(alike.std() / 50**0.5, rel=0.1)
    assert spread[1] == pytest.approx(apart.std() / 400**0.5, rel=0.3)


def test_holm_and_p_are_as_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert p_value(np.array([1.0] * 97 + [-1.0] * 3)) == pytest.approx(0.06)
    assert p_value(np.ones(1000)) == pytest.approx(0.002)  # no more than so many draws can tell
    assert p_value(np.zeros(10)) == 1.0


def line(data, policy, arm, seed, values, **more):
    made = (
        {"variations": 12, "refused": {"too_near": 8}, "kept": 20, "storage_bytes": 48000, "train_tokens": 1000}
        if policy
        else {}
    )
    seconds = {f"{part}_cpu_seconds": 6.0 for part in ("scoring", "synthesis", "made")} if policy else {}
    own = {
        "data": data,
        "policy": policy,
        "arm": arm,
        "seed": seed,
        "share": 0.05,
        "steps": 25,
        "rounds": 3,
        "rouge1": list(values),
    }
    return own | made | seconds | {"device": "cpu", "isa": "avx2", "commit": "abc"} | more


def lines(gain, seeds=5, of=FOUR):
    rng = np.random.default_rng(1)
    for data in of:
        easy = rng.uniform(0.1, 0.2, size=6)
        yield line(data, "", "base", 0, easy, groups=GROUPS)
        yield line(data, "", "all", 0, easy + 0.1)
        yield line(data, "", "echo", 0, easy + 0.3)
        yield line(data, "", "constant", 0, easy - 0.05)
        for seed in range(seeds):
            noise = rng.normal(scale=0.001, size=6)
            yield line(data, "random", "repeat", seed, easy + noise)
            yield line(data, "quality", "repeat", seed, easy + gain - noise)
            yield line(data, "quality", "synthesis", seed, easy + gain + 0.02 - noise)


def test_differences_are_paired_and_pooled_over_data_sets():
    made = [*lines(0.05), line("dolly", "quality", "repeat", 7, [1.0] * 6)]  # a seed that the other side lacks
    found = differences(
        made, Side("quality", "repeat"), Side("random", "repeat"), dict.fromkeys(FOUR, GROUPS), draws=500
    )
    assert [difference.data for difference in found] == [*FOUR, "pooled"]
    assert all(difference.seeds == 5 for difference in found)
    for difference in found:
        assert difference.points == pytest.approx(5, abs=0.2)
        assert difference.low <= difference.points <= difference.high
    assert found[0].holm == pytest.approx(4 * 2 / 500)
    assert differences(made, Side("quality", "repeat"), Side("fifo", "repeat"), dict.fromkeys(FOUR, GROUPS)) == []


@pytest.mark.parametrize(
    ("gain", "said"), [(0.05, "`quality` stays the default: +5."), (-0.05, "`quality` is not shown to pay")]
)
def test_the_page_says_first_what_the_default_is_and_names_what_was_not_run(gain, said):
    best = "synthesis, `quality`" if gain > 0 else "repeat, `random`"
    page = report(Study(list(lines(gain))), "rouge1_test.jsonl")
    first = page.split("## ")[0]
    assert said in first
    assert "+2.0" in first and "60% of variations pass" in first
    assert "Floors, mean of four data sets: base" in first and f"the best of what was trained is {best}" in first
    assert "| annotating the whole stream over the base model | `--arms base,all` | +10.0 |" in page
    assert (
        "| the same sets in the prompt over trained on | `--policies random --arms repeat,retrieval` | untested |"
        in page
    )
    tables = details(Study(list(lines(gain))), "rouge1_test.jsonl")
    tests = tables.split("## Tests")[1].split("## ")[0]
    assert "exploratory: `quality` less `fifo` | untested" in tests
    assert f"{10 * gain:+.0%}" in tests  # of the ten points between the base and `all`
    assert "untested." in tables.split("## Storage")[1].split("## ")[0]
    assert "untested." in tables.split("## Whole system")[1].split("## ")[0]
    assert "untested (28.2)" in tables.split("## Beside the paper")[1]


def test_the_whole_system_is_held_against_the_paper_s_bins_at_equal_bytes():
    made = [one for one in lines(0.02) if one["policy"] != "quality"]
    for one in list(made):
        if one["policy"] == "random":
            easy = np.array(one["rouge1"])
            made.append(one | {"policy": "bins", "arm": "repeat", "rouge1": list(easy + 0.02)})
            made.append(one | {"policy": RIVAL, "arm": "synthesis", "rouge1": list(easy + 0.03)})
    row = details(Study(made), "x.jsonl").split("## Whole system")[1].split("## ")[0].splitlines()[-2]
    shown = [cell.strip() for cell in row.strip("|").split("|")]
    assert shown[0] == "5%, 5 seeds" and shown[3].startswith("+1.00 [")
    closed = [float(cell.rstrip("%")) for cell in shown[4:6]]
    assert closed == pytest.approx([30, 20], abs=1)  # of ten points
    assert float(shown[6].rstrip("%")) == pytest.approx(50, abs=4)
    claim = report(Study(made), "x.jsonl").split("5% of bytes (aim: 38% more of that gap closed)")[1].split("\n")[0]
    assert f"closes {shown[4].strip('+')} of that gap, bins {shown[5].strip('+')} |" in claim
    assert "bins close none" in details(
        Study([one | {"rouge1": [0.0] * 6} if one["policy"] == "bins" else one for one in made]), "x.jsonl"
    )


def test_other_data_are_tested_apart_and_leave_the_four_as_they_are():
    without = details(Study(list(lines(0.05))), "x.jsonl").split("## Tests")[1].split("## ")[0]
    assert "| other data: `quality` less the rival | untested |" in without
    made = [*lines(0.05), *lines(0.02, seeds=1, of=("meddialog", "openorca"))]
    tests = details(Study(made), "x.jsonl").split("## Tests")[1].split("## ")[0]
    rows = {row.split(" | ")[0].strip("| "): row for row in tests.splitlines() if row.startswith("| ")}
    for name in ("MedDialog", "OpenOrca", "pooled"):
        row = rows[f"other data: `quality` less the rival, {name}"].split(" | ")
        assert float(row[1].split()[0]) == pytest.approx(2, abs=0.2)
        assert row[4] == "1" and row[5].strip(" |") == ""
    four = "primary: `quality` less the rival, pooled"
    assert rows[four] in without and "primary: `quality` less the rival, MedDialog" not in tests


def test_how_far_policies_differ_is_held_against_what_seeds_alone_do():
    made, rng = list(lines(0.0)), np.random.default_rng(3)
    cells = rng.normal(12, 1, size=(4, 4, 5))  # data sets, policies, seeds
    for i, data in enumerate(FOUR):
        for j, policy in enumerate(("quality", "random", "fifo", "kcenter")):
            made += [line(data, policy, "repeat", seed, [cells[i, j, seed] / 100] * 6) for seed in range(5)]
    between = np.mean([np.std([cells[i, j].mean() for j in range(4)], ddof=1) for i in range(4)])
    chance = np.mean([np.std(cells[i, j], ddof=1) for i in range(4) for j in range(4)]) / 5**0.5
    assert f"differ by a standard deviation of {between:.2f} points" in report(Study(made), "x.jsonl")
    assert f"seeds alone would make them differ by {chance:.2f}." in report(Study(made), "x.jsonl")
    assert "seeds alone" not in report(Study(list(lines(0.0))), "x.jsonl")


def test_pairs_of_cells_whose_trained_tokens_differ_are_named():
    made = list(lines(0.05, seeds=2))
    for one in made:
        if one["arm"] == "synthesis" and one["data"] == "dolly":
            one["train_tokens"] = 971 + 20 * one["seed"]
    row = next(
        row
        for row in details(Study(made), "x.jsonl").splitlines()
        if row.startswith("| `quality`, synthesis to repeat")
    )
    assert row == "| `quality`, synthesis to repeat | +0, +0 | **-3**, -1 | +0, +0 | +0, +0 |"


def test_the_two_questions_are_asked_again_at_equal_trained_tokens():
    made = list(lines(0.05))
    assert "With trained tokens equal" not in report(Study(made), "x.jsonl")
    made += [
        one | {"arm": f"{one['arm']}-by-tokens", "train_tokens": 1000 + 3 * one["seed"]}
        for one in lines(0.03)
        if one["policy"]
    ]
    made += [
        one
        | {
            "arm": "guarded",
            "published": one["data"] != "dolly",
            "reason": "" if one["data"] == "dolly" else "unguarded",
        }
        for one in lines(0.03, seeds=1)
        if one["policy"] == "random"
    ]
    page = report(Study(made), "x.jsonl")
    assert "3 of 4 adapters let out, 3 of them by general perplexity alone" in page
    said = page.split("With trained tokens equal within 0.0%, too (5 seeds): ")[1].split("\n")[0]
    assert said.startswith("+3.") and "; synthesis +2." in said
    assert (
        "| `quality` over `random`, at equal trained tokens | `--policies quality,random --arms repeat-by-tokens"
        in page
    )
    tables = details(Study(made), "x.jsonl")
    assert "| equal tokens: `quality` less the rival, pooled | +3." in tables
    assert "| by tokens: repeat, `quality` to the rival | +0, +0, +0, +0, +0 |" in tables


def test_owners_are_drawn_whole_and_held_against_the_base_model():
    made = list(lines(0.05))
    for number, name in enumerate(("Ann", "Bob", "Cai")):
        data = f"memorybank_users:{name}"
        made.append(line(data, "", "base", 0, [0.1] * (number + 2)))
        made += [line(data, "fifo", "repeat", seed, [0.12 + 0.01 * number] * (number + 2)) for seed in (0, 1)]
    body = details(Study(made), "x.jsonl").split("## Owners")[1].split("## ")[0]
    assert "| arm, 3 owners |" in body and "| base | 10.0 |" in body
    mean = (0.12 * 2 + 0.13 * 3 + 0.14 * 4) / 9 * 100
    low, high = body.split(f"| repeat | {mean:.1f} | {mean - 10:+.2f} [")[1].split("]")[0].split(",")
    assert 2.0 <= float(low) < float(high) <= 4.0 and "] | 2 |" in body


def test_a_sweep_compares_data_sets_and_seeds_that_every_column_has():
    made = [*lines(0.05), *(one | {"share": 0.2} for one in lines(0.06, seeds=1) if one["data"] != "dolly")]
    body = details(Study(made), "x.jsonl").split("## Storage")[1].split("## ")[0]
    row = next(row for row in body.splitlines() if row.startswith("| repeat, `quality`"))
    assert [cell.strip() for cell in row.split("|")][2:4] == ["ALPACA, Empathetic, questiondoctors", "3"]


def test_the_picture_is_drawn_from_whatever_there_is(tmp_path):
    made = [*lines(0.05), *(one | {"rounds": 1} for one in lines(0.02)), *(one | {"share": 0.2} for one in lines(0.06))]
    plot(Study(made), tmp_path / "all.png")
    plot(Study(made[:1]), tmp_path / "hardly.png")
    assert (tmp_path / "all.png").stat().st_size > (tmp_path / "hardly.png").stat().st_size > 5000


def test_with_fewer_seeds_than_the_protocol_has_the_page_calls_itself_interim():
    assert "**Interim, 2 of 5 seeds: `quality` +5." in report(Study(list(lines(0.05, seeds=2))), "x.jsonl")
    three = [one for one in lines(0.05) if one["data"] != "dolly"]
    page = report(Study(three), "x.jsonl")
    assert "**Whether `quality` pays over `random`: untested.**" in page and "pooled |" not in page


def test_synthesis_that_hardly_passes_its_check_is_said_not_to_be_testable():
    few = [one | {"variations": 1, "refused": {"too_far": 19}} if one["policy"] else one for one in lines(0.05)]
    assert "Synthesis is not testable on this model: 20 of 400 variations (5%) pass the check." in report(
        Study(few), "x.jsonl"
    )
