"""The measuring script on invented data whose figures can be counted by hand."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "measure_lexicons.py"


@pytest.fixture(scope="module")
def measure():
    spec = importlib.util.spec_from_file_location("measure_lexicons", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["measure_lexicons"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "lexicons").mkdir()
    (tmp_path / "lexicons" / "pets.txt").write_text("cat\ndog\n")
    (tmp_path / "lexicons" / "food.txt").write_text("soup\nbread\n")
    rows = [
        ("the cat and the dog", "a cat"),  # pets 3
        ("even lines are left out: soup", "soup"),
        ("the cat", "eats soup"),  # a tie; question pets, answer food
        ("soup", ""),
        ("nothing here", "at all"),  # general
        ("bread", ""),
        ("bread", "soup soup dog"),  # food 3, pets 1
    ]
    (tmp_path / "toy.jsonl").write_text("".join(json.dumps({"question": q, "reference": a}) + "\n" for q, a in rows))
    (tmp_path / "empath.tsv").write_text("pet\tcat\tdog\tmy cat\nmeal\tsoup\teats\ncold\tsoup\n")
    return tmp_path


def row(text: str, first: str) -> list[str]:
    return next(
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith(f"| {first} |")
    )


def test_each_table_says_what_the_data_holds(measure, folder):
    lexicons, empath = measure.load_lexicons(folder / "lexicons"), measure.read_empath(folder / "empath.tsv")
    sets = measure.read_sets(folder / "toy.jsonl", "odd")
    assert len(sets) == 4
    data, other = {"toy": measure.look(lexicons, sets)}, {"toy": measure.look(empath, sets)}
    found = measure.tables(data, lexicons, other, empath)
    assert row(found["coverage"], "toy") == [
        "toy",
        "4",
        "75.0 %",
        "75.0 %",
        f"{100 * (3 / 7 + 2 / 4 + 4 / 4) / 4:.1f} %",
    ]
    assert row(found["dominance"], "food") == ["food", "2", "50.0"]
    assert row(found["dominance"], "pets") == ["pets", "2", "25.0"]
    assert row(found["dominance"], "general") == ["general", "", "25.0"]
    assert row(found["confusion"], "toy") == ["toy", "33.3 %", "33.3 %", "0.0 %", "66.7 % (44.4 %)"]
    assert row(found["pairs"], "food, pets") == ["food, pets", "1", "33.3 %"]
    assert row(found["empath"], "toy")[:3] == ["toy", "75.0 %", "75.0 %"]
    assert row(found["partners"], "pets") == ["pets", "pet 2", "pet 0.33"]
    assert row(found["partners"], "food") == ["food", "cold 1, meal 1", "cold 1.00, meal 1.00, pet 0.67"]


def test_dominant_domains_are_the_products(measure, folder):
    lexicons = measure.load_lexicons()
    texts = [("My cat has a fever", "Call a vet"), ("cook rice", ""), ("cat bread", ""), ("", "none")]
    assert [s.domain for s in measure.look(lexicons, texts)] == [lexicons.domain_score(*text).domain for text in texts]


def test_tables_are_put_into_a_document_again_and_again(measure, folder, capsys):
    document = folder / "doc.md"
    document.write_text("# Title\n\n<!-- coverage -->\nold\n<!-- end -->\n\nbetween\n\n<!-- pairs -->\n<!-- end -->\n")
    args = ["--data", str(folder), "--half", "odd", "--lexicons", str(folder / "lexicons"), "--into", str(document)]
    assert measure.main(args) == 0
    once = document.read_text()
    assert "old" not in once
    assert "| toy | 4 | 75.0 %" in once
    assert "between" in once
    assert measure.main(args) == 0
    assert document.read_text() == once
    assert measure.main([*args[:-2], "--empath", str(folder / "empath.tsv")]) == 0
    assert "partners" in capsys.readouterr().out


def test_a_word_among_anothers_words_is_suspected(measure):
    lexicons = measure.Lexicons(
        (
            measure.Lexicon("food", frozenset({"soup", "bread"})),
            measure.Lexicon("pets", frozenset({"cat", "dog", "plate"})),
        )
    )
    sets = [("soup bread plate", "")] * 8 + [("cat dog", "")] * 8
    assert [line.split(" | ")[0] for line in measure.suspects(lexicons, sets, 5).splitlines()[2:]] == ["| plate"]
