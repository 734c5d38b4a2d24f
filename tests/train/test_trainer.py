import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from edgepers.assets import model_folder
from edgepers.errors import ModelError
from edgepers.model.language_model import LanguageModel
from edgepers.train import trainer
from edgepers.train.frozen_linear import lean_layers
from edgepers.train.packing import packing
from edgepers.train.recipe import Recipe
from edgepers.train.step import backward
from edgepers.train.trainer import train

PAIRS = [
    ("What is my dog called?", "Your dog is called Moon."),
    ("Where are my keys?", "Behind the door."),
    ("Hi", "Hello, Emily, how are you today?"),
]


def run(llm, folder, **options):
    on_step = options.pop("on_step", None)
    checkpoint = options.pop("checkpoint", None)
    recipe = Recipe(**({"steps": 6, "batch": 4, "learning_rate": 2e-3, "rank": 4, "seed": 1} | options))
    return train(llm, PAIRS, folder, recipe, on_step=on_step, checkpoint=checkpoint)


def test_training_lowers_the_loss_saves_a_peft_adapter_and_leaves_the_base_model_as_it_was(llm, tmp_path):
    before = llm.losses(PAIRS)
    told = []
    result = run(llm, tmp_path, steps=30, on_step=told.append)
    assert [step.step for step in told] == list(range(1, 31))
    assert result.last_loss < 0.6 * result.first_loss
    assert result.tokens == 10 * 3 * sum(len(llm.example(q, r, 256).ids) for q, r in PAIRS)
    assert llm.losses(PAIRS) == before
    assert sorted(f.name for f in tmp_path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    llm.use_adapter(tmp_path)
    after = llm.losses(PAIRS)
    assert all(a < b for a, b in zip(after, before, strict=True))
    assert llm.losses(PAIRS, adapter=False) == pytest.approx(before, abs=1e-6)
    answers = llm.answer([q for q, _ in PAIRS], max_new_tokens=16)
    llm.use_adapter(None)
    plain = AutoModelForCausalLM.from_pretrained(model_folder(), dtype=torch.float32)
    plain.load_state_dict({k: v for k, v in llm._model.state_dict().items() if k in plain.state_dict()})
    peft = PeftModel.from_pretrained(plain, tmp_path).eval()
    for (question, _), answer in zip(PAIRS, answers, strict=True):
        ids = torch.tensor([llm.token_ids(llm.prompt(question))])
        out = peft.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=16, do_sample=False)
        assert llm.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True).strip() == answer


@pytest.fixture
def seen(monkeypatch):
    """The prompts of each step."""
    prompts = []
    real = trainer.backward

    def watched(llm, states_of, examples, **options):
        prompts.append([llm.tokenizer.decode(e.ids[: e.prompt_tokens]) for e in examples])
        return real(llm, states_of, examples, **options)

    monkeypatch.setattr(trainer, "backward", watched)
    return prompts


def test_what_was_not_told_is_learned_beside_and_keeps_all_its_words(llm, tmp_path, seen):
    untold = [("What is my tortoise called?", "I don't know that yet.")]
    before = llm.losses(untold)
    recipe = Recipe(epochs=8, batch=4, learning_rate=4e-3, rank=4, seed=1, untold=1, word_dropout=0.5)
    train(llm, PAIRS, tmp_path, recipe, untold=untold)
    whole = {llm.prompt(question) for question, _ in PAIRS}
    assert all(step[-1].endswith(llm.prompt(untold[0][0])[-40:]) for step in seen)
    drawn = [prompt for step in seen for prompt in step[:-1]]
    kept = sum(prompt in whole for prompt in drawn)
    assert 0 < kept < len(drawn)
    llm.use_adapter(tmp_path)
    after = llm.losses(untold)
    llm.use_adapter(None)
    assert after[0] < 0.7 * before[0]


def test_the_same_seed_gives_the_same_weights(llm, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / name).mkdir()
        run(llm, tmp_path / name, seed=seed)
    weights = [(tmp_path / name / "adapter_model.safetensors").read_bytes() for name in "abc"]
    assert weights[0] == weights[1] != weights[2]


def test_the_gradient_is_that_of_the_mean_over_sets_of_their_tokens_whatever_the_micro_batches(llm):
    examples = [llm.example(q, r, 256) for q, r in PAIRS]
    gradients = []
    model = llm.start_lora(4, 0)
    model.eval()  # no dropout
    try:
        for name, p in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(p, std=0.02, generator=torch.Generator().manual_seed(0))
        for budget in (10_000, 1):
            model.zero_grad()
            with packing(llm) as states_of:
                backward(llm, states_of, examples, micro_batch_tokens=budget)
            gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
        model.zero_grad()
        total = torch.zeros(())
        for example in examples:  # one by one, with all logits, as transformers itself computes it
            labels = torch.tensor([[-100] * example.prompt_tokens + list(example.ids[example.prompt_tokens :])])
            total = total + model(input_ids=torch.tensor([example.ids]), labels=labels).loss
        (total / len(examples)).backward()
        truth = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    finally:
        llm.use_adapter(None)
    for gradient in gradients:
        assert torch.nn.functional.cosine_similarity(gradient, truth, dim=0) > 0.999
        assert gradient.norm() == pytest.approx(truth.norm().item(), rel=0.02)


def test_4_bit_layers_have_the_right_gradient_after_answering(tmp_path, monkeypatch):
    """On AVX-512, bitsandbytes repacks weights at the first inference, and its product with those has no gradient."""
    from edgepers.model import nf4

    config = LlamaConfig(
        vocab_size=8192,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        eos_token_id=1,
        bos_token_id=None,
        dtype=torch.bfloat16,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (tmp_path / name).write_bytes((model_folder() / name).read_bytes())
    gradients = []
    for resident in (0, 1 << 40):
        monkeypatch.setattr(nf4, "RESIDENT_BYTES", resident)
        small = LanguageModel.load(str(tmp_path))
        small.answer(["Hello"], max_new_tokens=2)
        model = small.start_lora(4, 0)
        model.train()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        for name, p in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(p, std=0.02, generator=torch.Generator().manual_seed(0))
        with packing(small) as states_of, lean_layers(model):
            backward(small, states_of, [small.example(q, r, 64) for q, r in PAIRS], micro_batch_tokens=1024)
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert (
        torch.nn.functional.cosine_similarity(*gradients, dim=0) > 0.99
    )  # one in bfloat16, one in float32; repacked it is far from 1


def test_a_diverging_run_ends_in_one_line_and_keeps_the_model_usable(llm, tmp_path):
    with pytest.raises(ModelError, match=r"diverged at step \d+ .* lower --learning-rate"):
        run(llm, tmp_path, steps=40, learning_rate=1e30)
    assert llm.answer(["Hi"], max_new_tokens=2)
    assert not list(tmp_path.iterdir())


def test_training_goes_on_from_an_adapter_and_reviews_what_it_has_learned(llm, tmp_path):
    first, second, alone = (tmp_path / name for name in ("first", "second", "alone"))
    for folder in (first, second, alone):
        folder.mkdir()
    old, new = PAIRS[:2], PAIRS[2:]
    recipe = Recipe(epochs=30, batch=4, learning_rate=4e-3, rank=4, seed=1, review=2)
    train(llm, old, first, recipe)
    llm.use_adapter(first)
    learned = llm.losses(old)
    losses = []
    train(llm, new, second, recipe, start=first, reviewed=old, on_step=lambda step: losses.append(step.loss))
    train(llm, new, alone, recipe, start=first)
    llm.use_adapter(second)
    kept, gained = llm.losses(old), llm.losses(new)
    llm.use_adapter(alone)
    forgotten = llm.losses(old)
    llm.use_adapter(None)
    assert gained[0] < 0.5 * llm.losses(new)[0]
    assert sum(kept) < sum(forgotten)
    assert sum(kept) < sum(learned) + 0.5
    assert losses[0] < sum(llm.losses(PAIRS)) / 3  # it began with what was learned


def test_an_interrupted_run_does_not_go_on_from_another_adapters_checkpoint(llm, tmp_path):
    folders = [tmp_path / name for name in ("first", "other", "made")]
    for folder, seed in zip(folders, (1, 2, 1), strict=True):
        folder.mkdir()
        run(llm, folder, seed=seed)
    recipe, checkpoint = Recipe(steps=4, batch=4, rank=4, seed=1), tmp_path / "checkpoint"

    class Stop(Exception):
        pass

    def stop(step):
        if step.step == 2:
            raise Stop

    def steps_from(start):
        seen = []
        train(
            llm,
            PAIRS,
            folders[2],
            recipe,
            start=start,
            checkpoint=checkpoint,
            on_step=lambda step: seen.append(step.step),
        )
        return seen

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stop):
        patch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)
        train(llm, PAIRS, folders[2], recipe, start=folders[0], checkpoint=checkpoint, on_step=stop)
    kept = checkpoint.read_bytes()
    assert steps_from(folders[1]) == [1, 2, 3, 4]
    checkpoint.write_bytes(kept)
    assert steps_from(folders[0]) == [3, 4]


def test_an_adapter_of_another_rank_is_not_gone_on_from(llm, tmp_path):
    run(llm, tmp_path, steps=2)
    with pytest.raises(ModelError, match="another rank"):
        train(llm, PAIRS, tmp_path, Recipe(steps=2, rank=8), start=tmp_path)


def test_sentences_stand_beside_the_owners_questions_and_never_beside_untold_ones(llm, tmp_path, seen):
    recipe = Recipe(epochs=6, batch=3, rank=4, seed=1, untold=1, asides=0.5)
    untold = [("What is my tortoise called?", "I don't know that yet.")]
    train(llm, PAIRS, tmp_path, recipe, untold=untold, asides=["It rains again."])
    beside = [["It rains again." in prompt for prompt in step] for step in seen]
    assert not any(step[-1] for step in beside)
    own = [one for step in beside for one in step[:-1]]
    assert 0 < sum(own) < len(own)
    assert all(any(question in prompt for question, _ in PAIRS) for step in seen for prompt in step[:-1])
