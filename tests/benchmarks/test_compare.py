"""Result files: what changed beyond noise, and the page that is made from them."""

import json

import pytest
import torch


def row(name, p50, *, spread=0.05, copy=30.0, group="g", **more):
    return {
        "group": group, "name": name, "p20_ms": p50 * (1 - spread), "p50_ms": p50, "p80_ms": p50 * (1 + spread),
        "copy_gb_s": copy, "device": "cpu", "threads": 1, **more,
    }  # fmt: skip


def written(path, rows):
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path


def compared(tmp_path, before, after, capsys):
    from benchmarks.compare import main

    main([str(written(tmp_path / "a.jsonl", before)), str(written(tmp_path / "b.jsonl", after))])
    return capsys.readouterr().out


def test_what_is_apart_has_changed_and_what_touches_has_not(tmp_path, capsys):
    calm = [row(f"calm {i}", 10 + i / 10) for i in range(5)]
    before = [
        row("faster", 10),
        row("slower", 10),
        row("same", 10),
        row("noisy", 10, spread=0.3),
        row("gone", 1),
        *calm,
    ]
    after = [row("faster", 5), row("slower", 12), row("same", 10.5), row("noisy", 15, spread=0.3), row("new", 1), *calm]
    said = compared(tmp_path, before, after, capsys)
    assert said.index("slower:") < said.index("g      slower") < said.index("faster:") < said.index("g      faster")
    assert "1.20x" in said and "0.50x" in said
    assert "same" not in said and "noisy" not in said
    assert "only before:\n  g: gone" in said and "only after:\n  g: new" in said
    assert "2 of 9 cases changed beyond noise" in said


def test_where_all_cases_scatter_a_change_must_stand_out(tmp_path, capsys):
    before = [row(f"case {i}", 10, spread=0.01) for i in range(9)]
    after = [row(f"case {i}", 10 * (0.8 + i / 20), spread=0.01) for i in range(8)] + [row("case 8", 30, spread=0.01)]
    said = compared(tmp_path, before, after, capsys)
    assert "1 of 9 cases" in said and "case 8" in said and "case 0" not in said


def test_several_lines_of_a_case_are_one_with_their_widest_spread(tmp_path, capsys):
    said = compared(tmp_path, [row("a", 10), row("a", 13), row("a", 10.2)], [row("a", 12)], capsys)
    assert said.startswith("0 of 1 cases changed beyond noise")


def test_a_machine_that_is_slower_as_a_whole_is_no_change_and_another_machine_is_said(tmp_path, capsys):
    calm = [row(f"calm {i}", 10) for i in range(5)]
    before, after = (
        [row("a", 10), row("b", 10), *calm],
        [row("a", 14, copy=20.0), row("b", 16, copy=20.0, threads=2), *calm],
    )
    said = compared(tmp_path, before, after, capsys)
    assert "not the same machine: threads 1 before, 1, 2 after" in said
    assert "1 of 7 cases" in said and "1.60x" in said


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        ("{oops\n", "b.jsonl:1: not JSON"),
        ("[1]\n", "b.jsonl:1: a list where an object belongs"),
        ('{"name": "answer"}\n', "no line has group, name"),
        (json.dumps(row("other", 1)) + "\n", "have no case in common"),
    ],
    ids=["missing", "broken", "list", "no spread", "nothing in common"],
)
def test_a_file_that_cannot_be_compared_is_one_line(tmp_path, content, says):
    from benchmarks.compare import main

    one, two = written(tmp_path / "a.jsonl", [row("a", 1)]), tmp_path / "b.jsonl"
    if content is not None:
        two.write_text(content)
    with pytest.raises(SystemExit, match=says) as stop:
        main([str(one), str(two)])
    assert "\n" not in str(stop.value)


def test_a_page_is_made_from_the_lines_alone(tmp_path):
    from benchmarks.report import write_report

    rows = [
        row("ours", 2.0, group="score", share_of_copy=0.5, op="score_tokens"),
        row("torch", 20.0, group="score", share_of_copy=0.05, op="score_tokens"),
        row("adapter", 100.0, group="answer", bench="answer", sets=1, tokens=32, joules=0.25),
    ]
    page = write_report(written(tmp_path / "lines.jsonl", rows), tmp_path / "out").read_text()
    assert "| ours | 2 (1.9 to 2.1) | 50% |" in page
    assert "| adapter | 100 (95 to 105) | 10 | 320 | 0.25 |" in page
    assert "| device | cpu |" in page
    for name in ("ops", "answer"):
        assert f"({name}.png)" in page and (tmp_path / "out" / f"{name}.png").stat().st_size > 5000
    assert not (tmp_path / "out" / "train.png").exists()


def test_the_selector_is_measured_on_the_harness_and_reported(tmp_path, monkeypatch):
    from benchmarks import all as everything
    from benchmarks import bench_stages, harness

    monkeypatch.setattr(bench_stages, "STORAGE_BYTES", 64_000)
    monkeypatch.setattr(harness, "_COPIED", 1 << 20)
    monkeypatch.setattr(harness, "_SECONDS", 0.0)
    everything.main(["--only", "selector", "--out", str(tmp_path), "--threads", str(torch.get_num_threads())])
    rows = [json.loads(line) for line in (tmp_path / "lines.jsonl").read_text().splitlines()]
    assert [one["name"] for one in rows] == ["quality", "random", "fifo", "kcenter"]
    assert all(one["gb_s"] is None and one["sets"] == 16 for one in rows)
    assert "| kcenter |" in (tmp_path / "report.md").read_text()
    with pytest.raises(SystemExit, match="unknown; give some of ops, selector"):
        everything.main(["--only", "opps"])


def test_the_stages_of_a_model_are_right_before_they_are_timed():
    from benchmarks.bench_stages import answer_cases, encode_cases, train_cases
    from benchmarks.harness import difference

    found = {}
    for cases in (encode_cases, answer_cases, train_cases):
        for case in cases(None, "packaged"):
            assert difference(case.run(), case.truth) <= case.slack, (case.group, case.name)
            found.setdefault(case.facts["bench"], []).append(case.name)
    assert {bench: len(names) for bench, names in found.items()} == {"encode": 4, "answer": 6, "train": 1}
