"""Model families as their transformers configurations have them, with small random weights."""

import json
import math

import pytest
import torch
from peft import PeftModel
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from edgepers.assets import model_folder
from edgepers.model.language_model import LanguageModel
from edgepers.model.lora import attention_layers
from edgepers.train.packing import packing
from edgepers.train.recipe import Recipe
from edgepers.train.trainer import train

SMALL = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 8192,
}
GROUPED = SMALL | {"num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 256}
QKVO = ["k_proj", "o_proj", "q_proj", "v_proj"]
FAMILIES = {
    "llama": (GROUPED | {"tie_word_embeddings": False, "vocab_size": 8197}, QKVO),
    "smollm": (
        GROUPED
        | {"model_type": "llama", "tie_word_embeddings": True, "num_attention_heads": 2, "num_key_value_heads": 1},
        QKVO,
    ),
    "qwen2": (GROUPED | {"tie_word_embeddings": True}, QKVO),  # biases on q, k, v
    "qwen3": (GROUPED | {"head_dim": 32, "tie_word_embeddings": False}, QKVO),  # heads wider than the states
    "gemma": (GROUPED | {"num_key_value_heads": 1}, QKVO),
    "gemma2": (GROUPED | {"sliding_window": 32, "query_pre_attn_scalar": 16}, QKVO),  # soft-capped logits
    "gemma3_text": (GROUPED | {"sliding_window": 32, "query_pre_attn_scalar": 16}, QKVO),
    "phi": (
        SMALL | {"max_position_embeddings": 256, "partial_rotary_factor": 0.5},
        ["dense", "k_proj", "q_proj", "v_proj"],
    ),
    "phi3": (GROUPED | {"pad_token_id": 0, "rope_scaling": None}, ["o_proj", "qkv_proj"]),
    "gpt_neox": (SMALL | {"max_position_embeddings": 256}, ["dense", "query_key_value"]),
    "gpt2": (
        {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 256, "vocab_size": 8192},
        ["attn.c_proj", "c_attn"],
    ),
    "mpt": (
        {"d_model": 64, "n_layers": 2, "n_heads": 4, "expansion_ratio": 2, "vocab_size": 8192},
        ["Wqkv", "out_proj"],
    ),
}
PAIRS = [("What is my dog called?", "Your dog is called Moon."), ("Where are my keys?", "Behind the door.")]


def make(folder, family, template="packaged"):
    """A folder with a random model of a family and the packaged tokenizer, with a chat template of choice."""
    given, _ = FAMILIES[family]
    values = {"bos_token_id": None, "eos_token_id": 1, "pad_token_id": None} | given
    config = AutoConfig.for_model(values.pop("model_type", family), **values)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    names = ("tokenizer.json", "tokenizer_config.json", *(["chat_template.jinja"] if template == "packaged" else []))
    for name in names:
        (folder / name).write_bytes((model_folder() / name).read_bytes())
    if template not in ("packaged", None):
        (folder / "chat_template.jinja").write_text(template)
    return folder


@pytest.mark.parametrize("bits", [4, 16])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_encodes_answers_trains_and_reloads_in_plain_peft(tmp_path, family, bits):
    folder = make(tmp_path, family)
    llm = LanguageModel.load(str(folder), bits=bits)
    assert attention_layers(llm._model) == FAMILIES[family][1]
    hidden, offsets = llm.encode(["What is bread?\nFood.", "Hi"])
    assert hidden.shape == (int(offsets[-1]), 64)
    assert hidden.isfinite().all()
    base = llm.answer(["Hi", "What is bread?"], max_new_tokens=6)
    losses = llm.losses(PAIRS)
    assert all(map(math.isfinite, losses))
    with packing(llm) as states_of:
        assert states_of.packs == (family != "mpt")  # whose layers do not look their attention up by name
    for targets in ("attention", "all-linear"):
        made = tmp_path / targets
        result = train(llm, PAIRS, made, Recipe(steps=2, batch=2, learning_rate=5e-2, rank=2, targets=targets))
        assert math.isfinite(result.last_loss)
        llm.use_adapter(made)
        tuned = llm.losses(PAIRS)
        assert tuned != losses
        assert llm.losses(PAIRS, adapter=False) == pytest.approx(losses, rel=1e-3)
        llm.use_adapter(None)
    assert llm.answer(["Hi", "What is bread?"], max_new_tokens=6) == base
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        states = plain.get_decoder()(torch.tensor([llm.token_ids("What is bread?\nFood.")])).last_hidden_state[0]
    near = torch.nn.functional.cosine_similarity(states, hidden[: len(states)].float())
    assert near.min() > (0.9 if bits == 4 else 0.999)
    plain = PeftModel.from_pretrained(plain, tmp_path / "attention").eval()
    assert json.loads((tmp_path / "attention" / "adapter_config.json").read_text())["base_model_name_or_path"] == str(
        folder
    )
    llm.use_adapter(tmp_path / "attention")
    for (question, response), loss in zip(PAIRS, llm.losses(PAIRS), strict=True):
        example = llm.example(question, response, 512)
        labels = [-100] * example.prompt_tokens + list(example.ids[example.prompt_tokens :])
        with torch.no_grad():
            whole = plain(input_ids=torch.tensor([example.ids]), labels=torch.tensor([labels])).loss.item()
        assert loss == pytest.approx(whole, rel=0.05)  # 16 or 4 bits of weights against float32


@pytest.mark.parametrize("family", ["llama", "mpt"])
def test_a_long_set_among_short_ones_is_trained_by_families_that_are_padded_for_it_too(tmp_path, family):
    llm = LanguageModel.load(str(make(tmp_path, family)))
    pairs = [("What is this? " * 80, "A long question. " * 20)] + [("Hi", f"Hello, {number}.") for number in range(31)]
    result = train(llm, pairs, tmp_path / "adapter", Recipe(steps=2, batch=32, targets="all-linear"))
    assert math.isfinite(result.last_loss)


REFUSES_SYSTEM = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "<|{{ m['role'] }}|>{{ m['content'] | trim }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% else"
    " %}<|end|>{% endif %}"
)
ALTERNATES = (
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('must"
    " alternate') }}{% endif %}"
    "<|{{ m['role'] }}|>{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% else %}<|end|>{%"
    " endif %}"
)
NO_GENERATION_PROMPT = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}"


@pytest.mark.parametrize(
    "template", [REFUSES_SYSTEM, ALTERNATES, NO_GENERATION_PROMPT, None], ids=["system", "alternate", "bare", "none"]
)
def test_a_template_may_refuse_system_turns_demand_alternation_or_be_missing(tmp_path, template):
    llm = LanguageModel.load(str(make(tmp_path, "llama", template)))
    assert len(llm.answer(["Hi", "User: a\nAssistant: b\n\nWhat now?"], max_new_tokens=3)) == 2
    example = llm.example("Hi", "Hello.", 64)
    text = llm.tokenizer.decode(example.ids[example.prompt_tokens :])
    assert "Hello." in text
    assert text != "Hello."  # an end of turn is learnt too
    assert all(map(math.isfinite, llm.losses(PAIRS)))


def test_a_tokenizer_without_any_special_token_works(tmp_path):
    make(tmp_path, "qwen2", None)
    words = {word: i for i, word in enumerate("what is bread ? food hello User Assistant :".split())}
    tokenizer = Tokenizer(models.WordLevel(words | {"[UNK]": len(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    (tmp_path / "tokenizer_config.json").unlink()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(tmp_path)
    llm = LanguageModel.load(str(tmp_path))
    assert len(llm.answer(["what is bread ?", "hello"], max_new_tokens=3)) == 2
    train(
        llm,
        [("hello", "food"), ("what is bread ?", "food")],
        tmp_path / "a",
        Recipe(steps=2, batch=2, learning_rate=1e-2, rank=2),
    )
