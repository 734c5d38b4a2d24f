import json
import math

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from edgepers.assets import model_folder, sample_test
from edgepers.errors import BudgetError, ModelError
from edgepers.model.language_model import LanguageModel, Sampling
from edgepers.model.loading import check_memory

TEXTS = ["What is bread?\nBread is food.", "Hi", "Tell me a long story about a train to the mountains, please.\n" * 3]
QUESTIONS = ["What is bread?", "Can you help me find a place to eat in the evening?", "Hi"]


@pytest.fixture(scope="module")
def plain():
    """The same model as transformers alone loads it, with the same NF4-rounded weights."""
    model = AutoModelForCausalLM.from_pretrained(model_folder(), dtype=torch.float32)
    model.load_state_dict(
        {k: v for k, v in LanguageModel.load()._model.state_dict().items() if k in model.state_dict()}
    )
    return model.eval(), AutoTokenizer.from_pretrained(model_folder())


def test_encode_gives_ragged_states_of_the_bare_text(llm, plain):
    model, tokenizer = plain
    hidden, offsets = llm.encode(TEXTS)
    assert offsets.tolist()[0] == 0
    assert offsets[-1] == len(hidden)
    for i, text in enumerate(TEXTS):
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
        with torch.no_grad():
            states = model.model(ids).last_hidden_state[0]
        rows = hidden[offsets[i] : offsets[i + 1]]
        assert rows.shape == states.shape
        assert torch.nn.functional.cosine_similarity(rows.float(), states.float()).min() > 0.999


def test_encode_takes_at_most_512_tokens_and_no_texts(llm):
    _, offsets = llm.encode(["word " * 2000, ""])
    assert offsets.tolist() == [0, 512, 513]
    hidden, offsets = llm.encode([])
    assert hidden.shape == (0, 256)
    assert offsets.tolist() == [0]


def test_answers_in_a_batch_are_those_of_transformers_alone(llm, plain):
    model, tokenizer = plain
    questions = QUESTIONS * 3
    answers = llm.answer(questions, max_new_tokens=24)
    assert answers[:3] * 3 == answers
    for question, answer in zip(QUESTIONS, answers, strict=False):
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        out = model.generate(**prompt, max_new_tokens=24, do_sample=False)
        assert tokenizer.decode(out[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True).strip() == answer


def test_sampling_is_a_pure_function_of_its_seeds(llm):
    first = llm.answer(QUESTIONS, max_new_tokens=12, sampling=Sampling([1, 2, 3]))
    torch.manual_seed(9)
    assert llm.answer(QUESTIONS, max_new_tokens=12, sampling=Sampling([1, 2, 3])) == first
    assert llm.answer(QUESTIONS, max_new_tokens=12, sampling=Sampling([4, 5, 6])) != first


def test_rows_that_have_ended_leave_the_batch_and_change_no_other(llm, monkeypatch):
    questions = [json.loads(line)["question"] for line in sample_test().read_text(encoding="utf-8").splitlines()[:24]]
    alone = [llm.answer([question], max_new_tokens=48)[0] for question in questions]
    seeds = range(len(questions))
    drawn = [llm.answer([q], max_new_tokens=48, sampling=Sampling([i]))[0] for i, q in enumerate(questions)]
    rows: list[int] = []
    generate = type(llm._model).generate

    def counted(self, **options):
        rows.append(len(options["input_ids"]))
        return generate(self, **options)

    monkeypatch.setattr(type(llm._model), "generate", counted)
    assert llm.answer(questions, max_new_tokens=48) == alone
    assert len(rows) > 1
    assert rows[-1] < rows[0]
    assert llm.answer(questions, max_new_tokens=48, sampling=Sampling(list(seeds))) == drawn


def test_losses_are_the_mean_negative_log_likelihood_of_the_response(llm, plain):
    model, _ = plain
    question, response = "What is bread?", "Bread is a food."
    example = llm.example(question, response, 64)
    with torch.no_grad():
        logits = model(torch.tensor([example.ids])).logits[0].double()
    picked = [
        logits[i - 1].log_softmax(-1)[example.ids[i]].item() for i in range(example.prompt_tokens, len(example.ids))
    ]
    assert llm.losses([(question, response), ("Hi", "Hello there, how are you?")])[0] == pytest.approx(
        -sum(picked) / len(picked), abs=0.02
    )


def test_recalled_is_what_the_greedy_answer_would_be(llm):
    own = llm.answer(QUESTIONS, max_new_tokens=32)
    pairs = list(zip(QUESTIONS, own, strict=True))
    assert llm.recalled(pairs)[0]  # which it ends as its template does; the others it ends with the next turn
    assert llm.recalled([(question, f"{answer} Moon") for question, answer in pairs]) == [False] * len(pairs)
    assert llm.recalled([(question, answer.partition(" ")[0]) for question, answer in pairs]) == [False] * len(pairs)
    assert llm.recalled([]) == []


def test_what_is_measured_of_a_response_is_in_the_order_of_the_pairs(llm):
    pairs = [("What is bread?", "Bread is a food that is baked " * n) for n in (9, 1, 5)]
    alone = [llm.losses([pair])[0] for pair in pairs]
    assert llm.losses(pairs, batch=2) == pytest.approx(alone, abs=1e-3)


def test_a_set_too_long_loses_the_left_of_its_question(llm):
    example = llm.example("word " * 100 + "end?", "Yes.", 32)
    assert example.cut
    assert len(example.ids) == 32
    assert "end?" in llm.tokenizer.decode(example.ids)
    assert llm.tokenizer.decode(example.ids[example.prompt_tokens :]) == "Yes.<|end|>"
    assert len(llm.example("Q", "word " * 100, 32).ids) == 32


def test_a_response_too_long_for_its_question_leaves_it_a_quarter(llm):
    example = llm.example("word " * 100 + "end?", "Yes, " * 100, 64)
    assert (len(example.ids), example.prompt_tokens, example.cut) == (64, 16, True)
    assert "end?" in llm.tokenizer.decode(example.ids)


@pytest.fixture
def bare_model(tmp_path):
    """A random Llama without chat template, pad token or tied head."""
    words = {"<unk>": 0, "</s>": 1} | {
        w: i + 2 for i, w in enumerate("what is bread hello User Assistant : ? food".split())
    }
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>").save_pretrained(tmp_path)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=False,
        eos_token_id=1,
        bos_token_id=None,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize("bits", [4, 16])
def test_a_model_without_chat_template_or_pad_token_answers_encodes_and_has_losses(bare_model, bits):
    llm = LanguageModel.load(str(bare_model), bits=bits)
    assert len(llm.answer(["what is bread ?", "hello"], max_new_tokens=4)) == 2
    hidden, offsets = llm.encode(["what is bread ?\nfood", "hello"])
    assert hidden.shape == (int(offsets[-1]), 64)
    assert math.isfinite(llm.losses([("what is bread", "food")])[0])
    assert llm.completion("hello", "food").endswith("food</s>")


def test_models_that_cannot_be_loaded_are_refused_in_one_line(tmp_path, bare_model):
    (tmp_path / "empty").mkdir()
    (tmp_path / "noweights").mkdir()
    (tmp_path / "noweights" / "config.json").write_text("{}")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{}")
    (tmp_path / "broken" / "model.safetensors").write_bytes(b"junk")
    for model, says in (
        (tmp_path / "empty", "no config.json"),
        (tmp_path / "noweights", "no \\*.safetensors weights"),
        (tmp_path / "broken", "check the folder"),
        ("llama3.2:3b", "Ollama tag"),
        ("model.gguf", "no such file"),
    ):
        with pytest.raises(ModelError, match=says) as error:
            LanguageModel.load(str(model))
        assert "\n" not in str(error.value)


def test_weights_that_pass_the_memory_budget_are_refused_before_loading(bare_model):
    check_memory(str(bare_model), 4, 10_000_000)
    with pytest.raises(BudgetError, match="weights take"):
        check_memory(str(bare_model), 16, 100_000)
    with pytest.raises(BudgetError, match="weights take"):
        check_memory(None, 4, 1_000_000)


def test_a_hub_model_that_is_on_this_machine_is_loaded_without_asking_the_network(bare_model, monkeypatch):
    from edgepers.model import loading

    asked = []

    def from_pretrained(name, bits, device, *, offline):
        asked.append((name, offline))
        if offline and name == "owner/new":
            raise OSError("not in the cache")
        return load(str(bare_model), bits, device, offline=True)

    load = loading._from_pretrained
    monkeypatch.setattr(loading, "_from_pretrained", from_pretrained)
    for name in ("owner/there", "owner/new"):
        LanguageModel.load(name)
    assert asked == [("owner/there", True), ("owner/new", True), ("owner/new", False)]
