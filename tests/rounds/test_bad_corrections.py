"""Corrections as a careless owner gives them: each does something sensible, and says it in one line."""

import json
import shutil

import pytest

from edgepers.assets import model_folder
from edgepers.cli import main
from edgepers.config import Settings
from edgepers.model.language_model import LanguageModel
from edgepers.personalize import Personalizer
from edgepers.rounds import training_data
from edgepers.rounds.listener import Listener
from edgepers.select.verdicts import Verdicts
from edgepers.state.buffer import Buffer
from edgepers.state.folder import State

ROWS = [
    {"id": "dog", "question": "What is my dog called?", "response": "I do not know."},
    {"id": "dog2", "question": "what is my dog called", "response": "A good dog."},
    {"id": "home", "question": "Where do I live?", "response": "In a house."},
    {"id": "tea", "question": "What do I drink in the morning?", "response": "Milk."},
]
NO_END = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
QUICK = {"generations": 0, "steps": 2, "rehearsal": 0, "untold": 0, "storage": 256_000}


class Heard(Listener):
    """Every line that is said."""

    def __init__(self):
        self.said = []

    def log(self, text):
        self.said.append(text)


class Owner:
    """Someone with a stream, a state and a file of answers."""

    def __init__(self, folder, llm):
        self.folder, self.state, self._llm = folder, folder / "state", llm

    def file(self, name, rows):
        path = self.folder / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    def _open(self, answers, given, listener):
        settings = QUICK | {"annotations": self.file("a.jsonl", answers)} | given
        return Personalizer(self.state, Settings.make(settings), llm=self._llm, listener=listener)

    def run(self, answers, *, rows=ROWS, **given):
        """The round at the end of the stream: its report, and what was said."""
        heard = Heard()
        with self._open(answers, {"every": len(rows)} | given, heard) as owner:
            return owner.run(self.file("s.jsonl", rows))["rounds"][-1], heard.said

    def round(self, answers, **given):
        """One more round."""
        with self._open(answers, given, Heard()) as owner:
            return owner.round()

    def requests(self):
        with Personalizer(self.state, llm=self._llm) as owner:
            return [kept.id for kept in owner.requests()]

    def verdicts(self):
        with Buffer(self.state) as buffer:
            return {kept.id: kept.verdict for kept in buffer}

    def judge(self, name, reference, *, bad=False):
        """A verdict as the chat takes it, between two rounds."""
        with Buffer(self.state, 256_000) as buffer:
            position = next(kept.position for kept in buffer if kept.id == name)
            assert Verdicts(buffer).annotate(position, reference, buffer.progress.rounds + 1, bad=bad) == ""

    def pairs(self):
        """What the next round would train on."""
        with Buffer(self.state) as buffer:
            return training_data.TrainingData.of(State(self.state), buffer).lessons().pairs


@pytest.fixture
def owner(tmp_path, llm):
    return Owner(tmp_path, llm)


def corrected(name, reference):
    return {"id": name, "reference": reference}


def wrong(name):
    return {"id": name, "good": False}


def test_of_two_corrections_that_contradict_each_other_the_later_one_is_learned_and_it_is_said(owner):
    done, said = owner.run([corrected("dog", "Moon."), corrected("dog2", "Rex."), corrected("home", "In Porto.")])
    assert (done["contradicted"], done["train_sets"] + done["reserve_sets"]) == (1, 2)
    assert said.count("round 1: not learned, since a later verdict takes it back: dog") == 1
    assert ("what is my dog called", "Rex.") in owner.pairs()
    assert "Moon." not in dict(owner.pairs()).values()


def test_one_correction_is_a_round(owner):
    done, _ = owner.run([corrected("dog", "Moon.")])
    assert (done["train_sets"], done["train_steps"]) == (1, 2)


def test_no_correction_is_no_training_and_says_what_to_do(owner):
    done, _ = owner.run([])
    assert (done["train_steps"], done["adapter"], done["published"]) == (0, None, False)
    assert done["reason"] == "no annotated set to train on; correct a kept one, or say that it is fine"


def test_what_is_cut_to_be_learned_is_said_by_name_and_the_question_stays(owner, llm):
    long = "It is Moon. " + " ".join(f"word{i}" for i in range(1500))
    assert len(llm.token_ids(long)) >= 4000
    done, said = owner.run([corrected("dog", long), corrected("home", "In Porto.")], rows=[ROWS[0], ROWS[2]])
    assert done["train_cut"] == 1
    assert said.count("round 1: cut to 256 tokens, the most that is learned of one set: dog") == 1
    example = llm.example(ROWS[0]["question"], long, 256)
    prompt = llm.tokenizer.decode(example.ids[: example.prompt_tokens])
    assert (len(example.ids), prompt) == (256, "<|user|>What is my dog called?<|assistant|>")


def test_a_correction_that_the_budget_cannot_hold_is_said_by_name(owner):
    long = "".join(chr(200 + i % 5000) for i in range(30_000))
    done, said = owner.run([corrected("dog", long), corrected("home", "In Porto.")], storage=64_000)
    assert done["train_sets"] == 1
    line = "set dog: its correction is too long to keep inside the storage budget; shorten it, or raise --storage"
    assert said.count(line) == 1


@pytest.mark.parametrize("empty", ["", " \n "])
def test_an_empty_correction_is_refused_by_line_before_anything_is_made(owner, empty, capsys):
    answers = owner.file("a.jsonl", [corrected("home", "In Porto."), corrected("dog", empty)])
    stream = owner.file("s.jsonl", ROWS)
    assert main(["run", stream, "--state", str(owner.state), "--annotations", answers]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "a.jsonl:2: 'reference' is missing or empty; give the wanted response" in said
    assert not owner.state.exists()


def test_thumbs_down_alone_teach_nothing_until_one_is_corrected(owner):
    done, _ = owner.run([wrong("dog"), wrong("home"), wrong("tea")], repeats="kept")
    assert (done["train_steps"], done["adapter"], done["published"], done["rejected_sets"]) == (0, None, False, 3)
    assert done["reason"] == (
        "nothing to train on: all 3 verdicts say that a response was wrong, none what is right; correct one of them"
    )
    assert owner.verdicts() == {"dog": "bad", "dog2": "", "home": "bad", "tea": "bad"}
    assert owner.requests() == ["dog2", "dog", "home", "tea"]
    done = owner.round([corrected("home", "In Porto."), wrong("dog")])
    assert (done["train_sets"], done["rejected_sets"]) == (1, 2)
    assert owner.verdicts()["home"] == "corrected"
    assert owner.pairs() == [("Where do I live?", "In Porto.")]


def test_the_published_adapter_stays_where_a_round_has_thumbs_down_alone(owner):
    done, _ = owner.run([corrected("home", "In Porto.")], guard=False)
    assert done["published"]
    owner.judge("home", None, bad=True)
    done = owner.round([])
    assert (done["train_steps"], done["published"], done["rejected_sets"]) == (0, False, 1)
    assert done["reason"].endswith("the only verdict says that a response was wrong, not what is right; correct it")
    with Buffer(owner.state) as buffer:
        assert buffer.progress.published == "0001"


def test_what_was_learned_and_is_judged_wrong_since_is_learned_away_from_the_base_model(owner):
    """Going on from the adapter that has learned it would keep it."""
    answers = [corrected("home", "In Porto."), corrected("dog", "Moon.")]
    quick = {"guard": False, "review": 2}
    done, _ = owner.run(answers, **quick)
    assert done["published"] and done["train_sets"] == 2
    again = owner.round([corrected("tea", "Tea.")], **quick)
    assert (again["start"], again["train_sets"]) == ("0001", 3)  # what is new is learned on top
    owner.judge("dog", None, bad=True)
    owner.judge("home", "In Faro.")
    done = owner.round([], **quick)
    assert (done["start"], done["train_sets"], done["rejected_sets"]) == (None, 2, 1)
    assert owner.verdicts()["dog"] == "bad"


def test_a_thumbs_down_is_exported_found_by_forget_and_learned_from_a_correction_of_the_same(owner, monkeypatch):
    monkeypatch.setattr(training_data, "asked_again", lambda llm, pairs, others, most: _all_of(pairs, others))
    done, _ = owner.run([wrong("dog2"), corrected("dog", "Moon.")], rows=ROWS[:2])
    assert (done["train_sets"], done["rejected_sets"], len(done["recurring"])) == (1, 1, 1)
    out = owner.folder / "mine.jsonl"
    assert main(["export-data", "--state", str(owner.state), "--out", str(out)]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["id"], row["verdict"], row["reference"]) for row in rows] == [
        ("dog", "corrected", "Moon."),
        ("dog2", "bad", None),
    ]
    assert main(["forget", "--state", str(owner.state), "--matching", "A good dog"]) == 0
    assert owner.verdicts() == {"dog": "corrected"}


def test_an_adapter_that_was_told_what_is_wrong_is_withdrawn_with_it(owner):
    done, _ = owner.run([wrong("tea"), corrected("dog", "Moon.")], guard=False)
    assert (done["published"], done["recurring"], len(done["rejected"])) == (True, [], 1)
    assert main(["forget", "--state", str(owner.state), "tea"]) == 0
    with Buffer(owner.state) as buffer:
        assert buffer.progress.published == ""


def test_wrong_is_what_a_thumbs_down_says_and_no_correction(owner):
    owner.run([wrong("tea"), corrected("dog", "Moon.")], every=9)
    with Buffer(owner.state) as buffer:
        data = training_data.TrainingData.of(State(owner.state), buffer)
    assert data.wrong() == [("What do I drink in the morning?", "Milk.")]


def test_what_was_called_wrong_is_not_learned_by_a_correction_that_says_the_same(owner, monkeypatch):
    monkeypatch.setattr(training_data, "asked_again", lambda llm, pairs, others, most: _all_of(pairs, others))
    asked = {"id": "name", "question": "Tell me the name of my dog.", "response": "A good dog."}
    done, _ = owner.run([wrong("name"), corrected("dog", "A good dog.")], rows=[ROWS[0], asked])
    assert (done["train_sets"], done["rejected_sets"], done["recurring"]) == (1, 1, [])


def _all_of(pairs, others):
    return [(i, pairs[0][1]) for i in range(len(others))]


@pytest.mark.parametrize(("template", "ends"), [(NO_END, "<|user|>"), (None, "\nUser:")], ids=["template", "none"])
def test_a_model_without_an_end_of_turn_learns_where_an_answer_ends(owner, template, ends):
    model = without_end(owner.folder / "model", template)
    said = []
    llm = LanguageModel.load(model, log=said.append)
    no_token = f"--model {model} has no token that ends an answer: {ends!r} does, which it learns with each correction"
    assert [line.startswith(no_token) for line in said] == [True] * (template is None)
    owner = Owner(owner.folder, llm)
    done, _ = owner.run([corrected("home", "In Porto."), corrected("dog", "Moon.")], steps=60, guard=False)
    assert done["published"]
    assert llm.completion("Hi", "Yes.").endswith(f"Yes.{ends}")
    llm.use_adapter(owner.state / "adapters" / "0001")
    found = [llm.complete(question, max_tokens=40) for question in (ROWS[2]["question"], ROWS[0]["question"])]
    assert [(one.text, one.finish) for one in found] == [("In Porto.", "stop"), ("Moon.", "stop")]


def without_end(folder, template):
    """The packaged model, with nothing that ends a turn: neither in its configuration nor in its template."""
    shutil.copytree(model_folder(), folder)
    for name, field in (
        ("tokenizer_config.json", "eos_token"),
        ("config.json", "eos_token_id"),
        ("generation_config.json", "eos_token_id"),
    ):
        settings = json.loads((folder / name).read_text())
        del settings[field]
        (folder / name).write_text(json.dumps(settings))
    if template is None:
        (folder / "chat_template.jinja").unlink()
    else:
        (folder / "chat_template.jinja").write_text(template)
    return str(folder)
