import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from edgepers.config import POLICIES
from edgepers.select.rules import aging, quality
from edgepers.state.records import KeptSet
from edgepers.streams import Cursor
from tests.ops.test_native import built


@built
def test_benchmark_of_the_ops_runs_at_its_smallest(tmp_path):
    out = tmp_path / "ops.jsonl"
    command = [sys.executable, "-m", "benchmarks.bench_ops", "--quick", "--out", str(out)]
    subprocess.run(command, cwd=Path(__file__).parents[2], check=True, capture_output=True)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert {row["op"] for row in rows} == {"score_tokens", "int8_similarity", "nearest"}
    for row in rows:
        assert row["p20_ms"] <= row["p50_ms"] <= row["p80_ms"]
        assert row["copy_gb_s"] > 0 and row["device"] and row["commit"] and "power_mode" in row
        assert row["joules"] is None or row["joules"] > 0  # where the machine has a meter


def test_benchmark_of_the_selector_runs_at_its_smallest(tmp_path):
    out = tmp_path / "selector.jsonl"
    command = [
        sys.executable,
        "-m",
        "benchmarks.bench_selector",
        "--quick",
        "--folder",
        str(tmp_path),
        "--out",
        str(out),
    ]
    subprocess.run(command, cwd=Path(__file__).parents[2], check=True, capture_output=True)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert {row["case"] for row in rows} == {"growth", "stream", "open", "durable", "wear", "kcenter"}
    durable = {row["name"]: row for row in rows if row["case"] == "durable"}
    assert durable["random"]["admitted_p50_us"] > 0 and durable["random"]["fsync_p50_us"] > 0
    assert all(row["commit"] and row["command"] for row in rows)


def made_up(n):
    """A scored stream whose scores have nothing to do with each other."""
    rng = np.random.default_rng(0)

    def one(i):
        scores = {"entropy": rng.random(), "domain_score": rng.random() / 10, "loss": rng.random() * 5}
        vector = rng.integers(-90, 91, 64).astype(np.int8)
        words = "w" * int(rng.integers(5, 200))
        return KeptSet(
            i,
            str(i),
            words,
            "r",
            None,
            f"d{rng.integers(3)}",
            where=Cursor(),
            embedding=vector,
            stored_bytes=400,
            **scores,
        )

    return [one(i) for i in range(n)]


def test_comparison_of_policies_gives_a_line_a_policy_a_table_and_a_picture(tmp_path):
    from benchmarks.plot_policies import plot
    from benchmarks.policies import compare, table

    rows = [row for share in (0.02, 0.05, 0.2) for row in compare("dolly", made_up(200), share, 0)]
    assert [row["policy"] for row in rows] == [*POLICIES] * 3
    assert all(
        row["kept_bytes"] <= row["share"] * row["stream_bytes"] and sum(row["admitted_by_eighth"]) == row["admitted"]
        for row in rows
    )
    lines = tmp_path / "policies.jsonl"
    lines.write_text("".join(json.dumps(row | {"command": "c", "commit": "c"}) + "\n" for row in rows))
    assert "| 5% | aging |" in table(lines)
    plot(lines, tmp_path / "policies.png")
    assert (tmp_path / "policies.png").stat().st_size > 10_000


def test_admissions_dry_up_under_quality_and_not_under_aging():
    from benchmarks.replay import replay

    stream = made_up(3000)
    even = {rule: replay(stream, 60 * 400, rule, 0).admitted for rule in (quality, aging)}
    share = {rule: admitted[-750:].sum() / (admitted.sum() / 4) for rule, admitted in even.items()}
    assert share[quality] < 0.4 and share[aging] > 0.6


def test_benchmark_of_training_runs_at_its_smallest(tmp_path):
    out = tmp_path / "train.jsonl"
    command = [
        sys.executable,
        "-m",
        "benchmarks.bench_train",
        "--shape",
        "packaged",
        "--steps",
        "2",
        "--only",
        "ours,ours-within,peft",
        "--memory",
        "200MB",
        "--out",
        str(out),
    ]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], check=True, capture_output=True, text=True)
    rows = {row["name"]: row for row in (json.loads(line) for line in out.read_text().splitlines())}
    assert rows.keys() == {"ours", "ours-within", "peft"}, done.stdout
    within = rows["ours-within"]
    assert within["fits"] and within["peak_bytes"] < min(rows["ours"]["peak_bytes"], 200e6)
    assert within["losses"] == pytest.approx(rows["ours"]["losses"], rel=1e-4)
    assert "times the tokens/s" in done.stdout
    assert rows["ours"]["tokens_a_step"] == rows["peft"]["tokens_a_step"]  # the same sets
    assert rows["ours"]["losses"][0] == pytest.approx(rows["peft"]["losses"][0], rel=0.01)
    assert all(row["peak_bytes"] > 0 and row["commit"] and row["device"] for row in rows.values())


def test_a_question_is_in_one_part_whatever_its_case_and_spaces():
    from benchmarks.splits import dialogue_sets, split_of
    from edgepers.assets import sample_stream

    assert split_of("What is  Bread?\n") == split_of("what is bread?")
    parts = {part: dialogue_sets(sample_stream(), part) for part in ("stream", "development", "test")}
    questions = {part: {one.question for one in sets} for part, sets in parts.items()}
    assert not questions["stream"] & questions["development"] | questions["stream"] & questions["test"]
    share = [len(sets) / sum(map(len, parts.values())) for sets in parts.values()]
    assert share == pytest.approx([0.6, 0.2, 0.2], abs=0.06)


def test_a_round_of_the_study_is_measured(llm, monkeypatch, tmp_path):
    from benchmarks import rounds
    from edgepers.train.recipe import Recipe

    for name, value in {"A_ROUND": 6, "ROUNDS": 2, "HELD_OUT": 30}.items():
        monkeypatch.setattr(rounds, name, value)
    work = rounds.Rounds(llm, tmp_path, "sample", 0)
    assert not {q for q, _ in work.held_out} & {q for q, _ in work.pairs(2)}
    base = {"data": "sample", "seed": 0, "arm": "base", "round": 0, **work.measured(2, adapter=False)}
    (row,) = work.rows(Recipe(steps=4, rehearsal=2), [2])
    assert base["facts_asked"] == row["facts_asked"] > 0
    assert row["own_losses"][0] < base["own_losses"][0]
    assert base["general_rise"] == 0 != row["general_rise"]
    warm = list(work.rows(Recipe(steps=4, rehearsal=2), [2], warm=True))
    assert [one["round"] for one in warm] == [2]
    assert warm[0]["own_losses"][0] < row["own_losses"][0]  # it had learned the first round's sets before
    told = rounds.summary([base, {"data": "sample", "seed": 0, "arm": "few", **row}])
    assert told.splitlines()[1].split()[:3] == ["few", "2", "1"]


def _diary(rows):
    days = [f"2024-01-{day:02}" for day in range(1, 11)]
    return [
        {"id": str(i), "question": f"{one} on my {i}th day", "user": "Ada", "date": days[i % 10]}
        for i, one in enumerate(rows)
    ]


def test_rows_of_the_rouge1_study_are_in_one_part_with_their_dialogue_and_repeat_no_other():
    from studies.rouge1.splits import near_duplicates, parts_of

    words = [f"what is the {i} thing that I should do about number {i * 7} of them" for i in range(300)]
    assert near_duplicates([*words, words[3].upper() + "?", words[4] + " now", "another"]) == [*range(300), 3, 4, 302]
    rows = [{"id": str(i), "question": one, "dialogue_id": i // 3} for i, one in enumerate([*words, *words[:30]])]
    parts = parts_of("made", rows, frozenset(words[:6]))
    assert sum(map(len, parts.values())) == 300
    of = {i: part for part, chosen in parts.items() for i in chosen}
    assert all(of[i] == of[i // 3 * 3] for i in range(300))
    assert {of[i] for i in range(6)} == {"development"}
    assert len(parts["test"]) in range(96, 99)
    assert parts_of("made", rows[:300], frozenset(words[:6])) == parts


def test_an_owners_last_days_are_the_study_s_test():
    from studies.rouge1.splits import OWNERS, parts_of

    rows = _diary([f"what did I do in place {i * 11} with friend number {i * 13}" for i in range(40)])
    parts = parts_of(OWNERS, rows, frozenset([rows[9]["question"]]))
    assert {rows[i]["date"][-2:] for i in parts["test"]} == {"08", "09", "10"}
    assert parts["development"] == [9]
    assert len(parts["stream"]) == 28


def test_the_rouge1_study_s_parts_are_those_that_were_written_down():
    from studies.rouge1.splits import FILE, _made

    data = FILE.parents[3] / "shared" / "data"
    if not data.is_dir():
        pytest.skip("the data sets are not beside the project")
    assert dict(_made(data)) == json.loads(FILE.read_text(encoding="utf-8"))


def test_worth_is_what_leaving_a_set_out_costs_and_is_held_against_its_scores(llm, monkeypatch, tmp_path):
    from edgepers.assets import sample_stream
    from studies.rouge1 import cells, worth

    rows = [json.loads(line) for line in sample_stream().read_text(encoding="utf-8").splitlines()][:30]
    (tmp_path / "made.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "splits.json").write_text(
        json.dumps({"made": {"parts": {"stream": [*range(24)], "development": [*range(24, 30)]}}})
    )
    monkeypatch.setattr(cells, "FILE", tmp_path / "splits.json")
    monkeypatch.setattr(cells, "A_ROUND", 1)
    monkeypatch.setattr(worth, "STEPS", 1)
    monkeypatch.setattr(llm, "encode", llm.encode)
    work = cells.Work(llm, tmp_path, "made", "development", tmp_path / "cache")
    found = list(worth.worths(work, 0, set()))
    assert len(found) == found[0]["sets"] == 3
    assert all(one["all_loss"] == found[0]["all_loss"] > 0 and one["worth"] != 0 for one in found)
    assert list(worth.worths(work, 0, {one["id"] for one in found})) == []

    def line(seed, i):
        return {
            "data": "made",
            "seed": seed,
            "worth": i,
            "entropy": 2 * i,
            "domain_score": -i,
            "dissimilarity": 5,
            "characters": i % 2,
            "loss": 0,
        }

    told = worth.table([line(seed, i) for seed in (0, 1) for i in range(12)])
    assert "| entropy | +1.00 [+1.00, +1.00] |" in told and "| domain_score | -1.00 [-1.00, -1.00] |" in told
    assert "| dissimilarity | +0.00 [+0.00, +0.00] |" in told and "2 runs, 24 sets" in told


def test_cells_of_the_rouge1_study_do_equal_work_and_are_made_once(llm, monkeypatch, tmp_path):
    from edgepers.assets import sample_stream
    from edgepers.train.recipe import max_tokens_of
    from studies.rouge1 import cells as study
    from studies.rouge1 import run

    rows = [json.loads(line) for line in sample_stream().read_text(encoding="utf-8").splitlines()][:60]
    (tmp_path / "made.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    parts = {"stream": list(range(48)), "development": list(range(48, 54))}
    (tmp_path / "splits.json").write_text(json.dumps({"made": {"parts": parts}}), encoding="utf-8")
    for name, value in {"FILE": tmp_path / "splits.json", "ROUNDS": 2, "A_ROUND": 4}.items():
        monkeypatch.setattr(study, name, value)
    for arm in study.TRAINED:
        monkeypatch.setitem(study.TRAINED, arm, {**study.TRAINED[arm], "steps": 2})
    monkeypatch.setattr(llm, "encode", llm.encode)  # which the study replaces: as before afterwards
    monkeypatch.setattr(llm, "answer", partial(llm.answer, max_new_tokens=16))
    work = []

    def work_on(name):
        work.append(study.Work(llm, tmp_path, name, "development", tmp_path / "cache"))
        return work[-1]

    arms = ("base", "echo", "constant", "retrieval", "repeat", "synthesis", "all")
    cells = {"made": list(run.wanted_cells("made", ["random", "quality"], arms, [0, 1], share=0.05, steps=2, rounds=2))}
    assert len(cells["made"]) == 3 + 3 * 4 + 2
    cells["made"] = [cell for cell in cells["made"] if cell.seed == 0]
    cells["made"] += [
        study.Cell("made", *of, 0, 0.05, 2, 2)
        for of in (
            ("bins", "repeat"),
            ("random", "warm"),
            ("random", "guarded"),
            *((p, "repeat-by-tokens") for p in ("random", "quality")),
        )
    ]
    for _ in range(2):
        run.make(work_on, cells, tmp_path / "out.jsonl", 1e9)
    assert len(work) == 1
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(lines) == len(cells["made"])
    assert all(len(line["rouge1"]) == 6 and min(line["rouge1"]) >= 0 and max(line["rouge1"]) <= 1 for line in lines)
    by = {(line["policy"], line["arm"]): line for line in lines}
    for policy in ("random", "quality"):
        repeat, synthesis = by[policy, "repeat"], by[policy, "synthesis"]
        assert repeat["annotated"] == synthesis["annotated"] == 8
        assert repeat["train_steps"] == synthesis["train_steps"] == 2
        assert repeat["kept_ids"] == synthesis["kept_ids"]
        assert repeat["variations"] == 0 < synthesis["variations"]
        assert by[policy, "retrieval"]["loss"] != by["", "base"]["loss"]
    assert by["random", "repeat"]["kept_ids"] != by["quality", "repeat"]["kept_ids"]
    assert by["", "echo"]["recall"] > 0
    assert by["bins", "repeat"]["kept"] == 48000 // 22000
    repeat, warm, guarded = (by["random", arm] for arm in ("repeat", "warm", "guarded"))
    assert warm["annotated"] == repeat["annotated"] and warm["loss"] != repeat["loss"]  # it has learned twice
    assert guarded["kept_ids"] == repeat["kept_ids"] and guarded["reason"] != "guard off" == repeat["reason"]
    assert guarded["published"] == (guarded["reason"] in ("", "unguarded"))
    equal = [by[policy, "repeat-by-tokens"] for policy in ("random", "quality")]
    assert all(
        line["kept_ids"] == by[line["policy"], "repeat"]["kept_ids"] and line["train_steps"] == 2 for line in equal
    )
    rehearsed = equal[0]["train_tokens"] - 2 * work[0].step_tokens  # the same in both
    assert rehearsed > 0 and abs(equal[0]["train_tokens"] - equal[1]["train_tokens"]) <= max_tokens_of(
        llm.parameter_count
    )
    if not guarded["published"]:
        assert guarded["loss"] == by["", "base"]["loss"]


def test_the_owner_corrects_what_coverage_asks_about_and_each_is_a_fact_once():
    from benchmarks.bench_learning import corrections

    pairs, others, facts = corrections(16)
    assert len(pairs) == 16 and len(others) == 184 and len(facts) >= 14
    assert corrections(16) == (pairs, others, facts)


def test_the_rival_is_the_fastest_recipe_that_is_as_good_and_none_is_said_to_be_where_none_is():
    from benchmarks.bench_learning import equal_and_fastest, summary

    def line(name, seconds, facts, rise):
        return {
            "name": name, "seconds": seconds, "facts_known": facts, "perplexity_rise": rise, "peak_bytes": 2_000_000_000
        }  # fmt: skip

    mine = line("ours", 10.0, 8.0, 0.02)
    slow, fast = line("slow", 90.0, 8.5, 0.0), line("fast", 60.0, 8.0, 0.029)
    worse, damaging = line("worse", 5.0, 7.9, 0.0), line("damaging", 5.0, 9.0, 0.04)
    assert equal_and_fastest([slow, fast, worse, damaging], mine) is fast
    assert "fast is as good as ours: 6.00 times the seconds" in summary([mine, slow, fast, worse, damaging])
    assert equal_and_fastest([worse, damaging], mine) is None
    assert summary([mine, worse]).startswith("no recipe of the grid is as good as ours (8.0 facts); worse knows most")
    assert summary([mine]) == "no rival was run"
