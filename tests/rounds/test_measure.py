from edgepers import DialogueSet, Personalizer
from edgepers.config import Settings
from edgepers.model.language_model import LanguageModel

TEST = [DialogueSet("What is my dog called?", None, "Your dog is called Moon."), DialogueSet("Hi", None, "Hello!")]


def test_a_model_is_asked_a_test_set_once_and_another_set_anew(tmp_path, llm, monkeypatch):
    asked = []
    real = LanguageModel.answer

    def answer(self, questions, *, adapter=True, **options):
        asked.append((len(questions), adapter))
        return real(self, questions, adapter=adapter, max_new_tokens=4)

    monkeypatch.setattr(LanguageModel, "answer", answer)
    with Personalizer(tmp_path / "state", Settings(storage=64_000), llm=llm) as owner:
        found = owner.evaluate(TEST)
        assert found["rouge1_after"] == found["rouge1_before"]  # nothing is published: one model, asked once
        answers = owner.held_out_answers(TEST, adapter=False)
        assert answers == owner.held_out_answers(TEST)
        assert [row["answer"] for row in found["answers"]] == list(answers)
        assert asked == [(2, False)]
        owner.held_out_answers(TEST[:1])
        assert asked == [(2, False), (1, False)]
