"""The lexicons and the domain specific score, against a slow and obvious reference."""

import random
import re
import string
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import edgepers.select.lexicon
from edgepers.errors import UsageError
from edgepers.select.lexicon import GENERAL, DomainMatch, Lexicon, Lexicons, load_lexicons, words

FOLDER = Path(edgepers.select.lexicon.__file__).with_name("lexicons")
PACKAGED = load_lexicons()
DOMAINS = sorted(FOLDER.glob("*.txt"))
PETS = Lexicons(
    (Lexicon("zoo", frozenset({"cat", "lion"})), Lexicon("home", frozenset({"cat", "sofa", "don't"})))
)  # overlap, unsorted
TEXTS = [
    "My cat Lion don't, don’t DON'T like the sofa; the CAT's sofa is the lion_cat's.",
    "I cooked rice with my mother, then we played chess and the doctor called about my knee.",
    "'quoted' rock'n'roll o''clock 'tis l'hôtel naïve_2 3rd ½ ² x2",
    "Моя мама готовит суп, а кошка спит.",
    "我喜欢和妈妈一起做饭。",
    "أحب الطبخ مع أمي",
    "I love मेरी माँ 👩‍👩‍👧 and e\u0301clairs, İstanbul, ΟΔΟΣ, Straße",
    "",
    "... --- ''' ___ ’’",
]


def reference(lexicons: Lexicons, text: str) -> tuple[float, str, int]:
    """The meaning, as written in the definition: one pass over the words per lexicon."""
    found = re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.lower().replace("’", "'"))
    hits = {lexicon.name: sum(1 for word in found if word in lexicon.words) for lexicon in lexicons.lexicons}
    score = sum(hits.values()) / (len(hits) * len(found)) if found else 0.0
    domain = GENERAL
    for name in sorted(hits):
        if hits[name] > hits.get(domain, 0):
            domain = name
    return score, domain, len(found)


def as_tuple(match: DomainMatch) -> tuple[float, str, int]:
    return match.score, match.domain, match.words


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("lexicons", [PACKAGED, PETS], ids=["packaged", "overlapping"])
@pytest.mark.parametrize("text", TEXTS)
def test_domain_score_matches_reference(lexicons, text):
    assert as_tuple(lexicons.domain_score(text)) == reference(lexicons, text)
    assert as_tuple(lexicons.domain_score("My cat.", text)) == reference(lexicons, "My cat.\n" + text)


@given(st.text(alphabet=st.one_of(st.sampled_from("cat lions'’_\n-"), st.characters())))
def test_domain_score_matches_reference_on_any_text(text):
    assert as_tuple(PETS.domain_score(text)) == reference(PETS, text)


@given(
    st.dictionaries(
        st.sampled_from(["a", "b", "c", "d"]), st.frozensets(st.sampled_from("uvwxyz"), min_size=1), min_size=1
    ),
    st.lists(st.sampled_from("uvwxyzt")),
)
def test_domain_score_matches_reference_on_any_lexicons(contents, found):
    lexicons = Lexicons(tuple(Lexicon(name, content) for name, content in contents.items()))
    assert as_tuple(lexicons.domain_score(" ".join(found))) == reference(lexicons, " ".join(found))


@given(st.lists(st.sampled_from(["cat", "Lion", "DON'T", "sofa", "the", "x2"])), st.randoms(use_true_random=False))
def test_domain_score_is_independent_of_case_and_word_order(found, rng: random.Random):
    shuffled = [rng.choice([word.upper(), word.lower(), word.title()]) for word in rng.sample(found, len(found))]
    middle = rng.randint(0, len(found))
    match = PETS.domain_score(" ".join(found))
    assert PETS.domain_score(" ".join(shuffled)) == match
    assert PETS.domain_score(" ".join(shuffled[:middle]), " ".join(shuffled[middle:])) == match
    assert 0.0 <= match.score <= 1.0


def test_domain_score_by_hand():
    # words: my cat and the other cat left the sofa (9); home has cat, cat, sofa; zoo has cat, cat
    assert PETS.domain_score("My cat and the other cat", "left the sofa") == DomainMatch((3 + 2) / 2 / 9, "home", 9)


def test_domain_score_does_not_join_the_last_word_of_the_question_with_the_response():
    assert PETS.domain_score("sof", "a").domain == GENERAL
    assert PETS.domain_score("don'", "t").domain == GENERAL


def test_domain_score_takes_the_first_name_on_a_tie():
    assert PETS.domain_score("a cat").domain == "home"
    assert PETS.domain_score("lion on a sofa").domain == "home"
    assert PETS.domain_score("lion and lion on a sofa").domain == "zoo"


@pytest.mark.parametrize("text", ["", "  \n", "?!", "___", "'", "🙂"])
def test_domain_score_is_zero_and_general_without_words(text):
    assert PETS.domain_score(text) == DomainMatch(0.0, GENERAL, 0)


@pytest.mark.parametrize(
    "text", ["Моя мама готовит суп", "我喜欢和妈妈一起做饭", "أحب الطبخ مع أمي", "มะม่วง", "नमस्ते दुनिया"]
)
def test_domain_score_is_general_for_scripts_without_lexicon(text):
    match = PACKAGED.domain_score(text)
    assert match.words >= 1
    assert (match.score, match.domain) == (0.0, GENERAL)


@pytest.mark.parametrize("name", ["кухня", "厨房", "طعام"])
def test_lexicons_work_in_any_script(tmp_path, name):
    match = load_lexicons(write(tmp_path, food=f"{name}\n")).domain_score(f"x, {name}!")
    assert match == DomainMatch(0.5, "food", 2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't don’t DON’T", ["don't"] * 3),
        ("'tis the dogs' o'clock rock'n'roll", ["tis", "the", "dogs", "o'clock", "rock'n'roll"]),
        ("o''clock", ["o", "clock"]),
        ("snake_case x2 3.5 covid-19", ["snake", "case", "x2", "3", "5", "covid", "19"]),
        ("МАМА naïve ½", ["мама", "naïve", "½"]),
    ],
)
def test_words_splits(text, expected):
    assert words(text) == expected


def test_packaged_lexicons_are_many_and_long():
    assert len(PACKAGED.names) >= 20
    assert {
        name: len(lexicon.words)
        for name, lexicon in zip(PACKAGED.names, PACKAGED.lexicons, strict=True)
        if len(lexicon.words) < 150
    } == {}
    assert all(re.fullmatch("[a-z]+", name) for name in PACKAGED.names)
    assert GENERAL not in PACKAGED.names


def test_packaged_lexicons_are_disjoint():
    counts = Counter(word for lexicon in PACKAGED.lexicons for word in lexicon.words)
    assert [word for word, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("path", DOMAINS, ids=lambda path: path.stem)
def test_packaged_lexicon_is_sorted_and_every_word_can_match(path):
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert lines == sorted(set(lines))
    assert {line: words(line) for line in lines if words(line) != [line]} == {}
    assert all(PACKAGED.domain_score(line.upper()).domain == path.stem for line in lines if line.isascii())


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("How long should I roast a chicken, and which spices go with it?", "food"),
        ("My knee hurts and the doctor prescribed ibuprofen.", "health"),
        ("Our flight was late, so we missed the train to the hotel.", "travel"),
        ("My daughter and her husband visit at Christmas.", "family"),
        ("Who is the president, and when is the election?", "politics"),
        ("Which emperor built the fortress of the Ottoman dynasty?", "history"),
        ("The thief was arrested and the judges gave a verdict.", "law"),
        ("Shall we play chess, or another board game?", "games"),
        ("Our striker scored twice in the final of the league.", "sport"),
        ("My puppy barks at squirrels.", "animals"),
        ("When do I prune the shrubs, and which fertilizer do tulips like?", "garden"),
        ("Will it rain, or does the storm pass the coast?", "nature"),
        ("A blue dress goes with these earrings and sandals.", "clothes"),
        ("My car needs new tyres before the motorway.", "transport"),
        ("Which planets orbit outside of Mars?", "science"),
        ("Practice the piano before the concert.", "music"),
        ("What are you doing?", GENERAL),
    ],
)
def test_packaged_lexicons_find_the_domain(text, domain):
    assert PACKAGED.domain_score(text).domain == domain


def test_load_lexicons_reads_comments_blank_lines_and_windows_files(tmp_path):
    (tmp_path / "zoo.txt").write_bytes(b"\xef\xbb\xbf# animals\r\n\r\ncat\r\n  lion \r\ncat\r\n")
    (tmp_path / ".hidden.txt").write_text("NOT A LEXICON")
    (tmp_path / "notes.md").write_text("NOT A LEXICON")
    (tmp_path / "folder.txt").mkdir()
    write(tmp_path, home="sofa\ndon't\ncat")
    assert load_lexicons(tmp_path) == PETS


BAD_WORDS = {
    "ice cream": "write each word on a line of its own: ice, cream",
    "Pizza": "write 'pizza'",
    "don’t": 'write "don\'t"',
    "e-mail": "write each word on a line of its own: e, mail",
    "snake_case": "write each word on a line of its own: snake, case",
    "dogs'": "write 'dogs'",
    "---": "remove it",
    "cafe\u0301": "write 'cafe'",
    "İ": "write 'i'",
}


@pytest.mark.parametrize("word", BAD_WORDS)
def test_load_lexicons_refuses_a_line_that_can_never_match(tmp_path, word):
    write(tmp_path, food=f"# dishes\n\nsoup\n{word}\n")
    with pytest.raises(UsageError) as caught:
        load_lexicons(tmp_path)
    assert str(caught.value) == f"{tmp_path / 'food.txt'}, line 4: {word!r} would never match; {BAD_WORDS[word]}"


@given(st.text(alphabet=string.printable + "ßİŉςΣ’½²\u0301\u2028").filter(str.strip))
def test_load_lexicons_accepts_a_line_exactly_where_it_can_match(tmp_path_factory, line):
    folder = tmp_path_factory.mktemp("any")
    (folder / "any.txt").write_bytes(line.encode())
    kept = [part.strip() for part in re.split(r"\r\n|\r|\n", line) if part.strip() and not part.strip().startswith("#")]
    if kept and all(words(word) == [word] for word in kept):
        assert load_lexicons(folder).lexicons[0].words == set(kept)
    else:
        with pytest.raises(UsageError) as caught:
            load_lexicons(folder)
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("text", ["", "# only a comment\n\n"])
def test_load_lexicons_refuses_a_file_without_words(tmp_path, text):
    write(tmp_path, food=text)
    with pytest.raises(UsageError, match=r"food\.txt has no words; write one a line or remove the file$"):
        load_lexicons(tmp_path)


@pytest.mark.parametrize("name", ["general", "General"])
def test_load_lexicons_refuses_the_name_general(tmp_path, name):
    write(tmp_path, **{name: "cat\n"})
    with pytest.raises(
        UsageError, match=rf"{name}\.txt: '{name}' names the texts that match no lexicon; rename the file$"
    ):
        load_lexicons(tmp_path)


def test_load_lexicons_refuses_a_missing_folder_and_a_file(tmp_path):
    write(tmp_path, food="soup\n")
    for path in (tmp_path / "nowhere", tmp_path / "food.txt"):
        with pytest.raises(UsageError, match=re.escape(f"lexicon folder {path} does not exist; give a folder")):
            load_lexicons(path)


def test_load_lexicons_refuses_an_empty_folder(tmp_path):
    with pytest.raises(UsageError, match=r"has no \.txt file; put one <domain>\.txt per domain there"):
        load_lexicons(tmp_path)


def test_load_lexicons_refuses_a_file_that_is_not_utf8(tmp_path):
    (tmp_path / "food.txt").write_bytes(b"soup\ncaf\xe9\n")
    with pytest.raises(UsageError, match=r"food\.txt is not UTF-8 at byte 8; save it as UTF-8$"):
        load_lexicons(tmp_path)


def test_lexicons_cannot_be_changed():
    with pytest.raises(AttributeError):
        PACKAGED.lexicons = ()  # type: ignore[misc]


def test_fingerprint_depends_on_names_and_words_alone(tmp_path):
    write(tmp_path, home="# a comment\ndon't\n\nsofa\ncat\n", zoo="lion\ncat\ncat\n")
    assert load_lexicons(tmp_path).fingerprint == PETS.fingerprint
    assert re.fullmatch("[0-9a-f]{64}", PETS.fingerprint)
    home, zoo = PETS.lexicons
    others = [
        Lexicons((home,)),
        Lexicons((home, Lexicon("zoos", zoo.words))),
        Lexicons((home, Lexicon("zoo", zoo.words | {"emu"}))),
        Lexicons((Lexicon("home", zoo.words), Lexicon("zoo", home.words))),
    ]
    assert len({PETS.fingerprint, *(other.fingerprint for other in others)}) == 5


def test_fingerprint_is_the_same_in_every_release():
    # Written down once: a state folder compares with what an earlier process wrote.
    assert Lexicons((Lexicon("food", frozenset({"soup", "crème"})),)).fingerprint == (
        "a465f20f0f923d656f5ee185378902263aed18604e2808a39fcfc00a86dc0d7a"
    )
