"""SmolLM2 135M, as its package has it: against transformers on the dequantized file, and what it knows."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from edgepers.model.language_model import LanguageModel
from edgepers.model.loading import quiet
from edgepers.model.sources import SMOLLM2_CURE, smollm2_file

pytestmark = [
    pytest.mark.real_model,
    pytest.mark.skipif(smollm2_file() is None, reason=f"needs SmolLM2: {SMOLLM2_CURE}"),
]

QUESTIONS = [
    "What is the capital of France?", "Who wrote Hamlet?", "How many legs does a spider have?",
    "What colour is the sky on a clear day?", "Name a fruit that is yellow.", "What is 2 plus 2?",
    "Which planet is the largest?", "What do bees make?", "Who painted the Mona Lisa?",
    "What is the capital of Japan?", "In which year did the Second World War end?",
    "At what temperature does water boil?", "Which animal barks?", "What is the opposite of hot?",
    "Name the longest river in Africa.", "What language is spoken in Brazil?", "How many days are in a week?",
    "What is the chemical symbol of gold?", "Who discovered penicillin?", "What is a noun?",
]  # fmt: skip
NEW_TOKENS = 24


@torch.no_grad()
def transformers_answers():
    """Of the file in float32, dequantized by transformers, one question after the other."""
    file = smollm2_file()
    with quiet():
        model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32).eval()
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    for question in QUESTIONS:
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
        )
        ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
        out = model.generate(**ids, max_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=0)
        yield tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True).strip()


@pytest.mark.slow
def test_answers_in_16_bits_are_those_of_transformers_on_the_dequantized_file():
    answers = LanguageModel.load("smollm2", bits=16).answer(QUESTIONS, max_new_tokens=NEW_TOKENS)
    same = [mine == theirs for mine, theirs in zip(answers, transformers_answers(), strict=True)]
    assert sum(same) >= 19
    assert answers[0] == "The capital of France is Paris."


@pytest.mark.parametrize("bits", [4, 16])
def test_it_ends_its_turn_and_knows_the_capital_of_france(bits):
    llm = LanguageModel.load("smollm2", bits=bits)
    assert llm.tokenizer.convert_ids_to_tokens(llm.stop_ids) == ["<|im_end|>"]
    found = llm.complete("What is the capital of France?", max_tokens=64)
    assert found.text.startswith("The capital of France is Paris") and found.finish == "stop"
