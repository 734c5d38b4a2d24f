import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from edgepers.model.lean_adapter import contiguous_head, lean_adapter

LLAMA = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 512,
    "pad_token_id": 0,
}
IDS = torch.randint(10, 500, (3, 12), generator=torch.Generator().manual_seed(0))


def llama():
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**LLAMA)).eval()


def gpt2():
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(n_embd=64, n_layer=2, n_head=4, vocab_size=512)).eval()  # Conv1D


def quantized():
    """Its linear layers in NF4, as bitsandbytes has them."""
    from bitsandbytes.nn.modules import Linear4bit, Params4bit

    model = llama().to(torch.bfloat16)
    for name, layer in [(n, m) for n, m in model.model.named_modules() if isinstance(m, torch.nn.Linear)]:
        four = Linear4bit(
            layer.in_features, layer.out_features, bias=False, compute_dtype=torch.bfloat16, quant_type="nf4"
        )
        four.weight = Params4bit(layer.weight.data, requires_grad=False, quant_type="nf4")
        model.model.set_submodule(name, four.to("cpu"))
    return model


def adapted(model, **options):
    """With an adapter that changes what the model says."""
    torch.manual_seed(1)
    peft = get_peft_model(
        model,
        LoraConfig(r=4, lora_alpha=8, lora_dropout=0.1, target_modules="all-linear", task_type="CAUSAL_LM", **options),
    )
    for name, weight in peft.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    return peft.eval()


@torch.no_grad()
def logits(model):
    return model(input_ids=IDS).logits.double()


def is_lean(model):
    return any("forward" in vars(module) for module in model.modules())


@pytest.mark.parametrize("many", [1, 1000])  # rows from which products are in the model's own type
@pytest.mark.parametrize(
    "make", [llama, gpt2, quantized, lambda: llama().to(torch.bfloat16)], ids=["float32", "conv1d", "nf4", "bfloat16"]
)
def test_an_adapter_answers_as_peft_computes_it(make, many, monkeypatch):
    monkeypatch.setattr("edgepers.model.lean_adapter._MANY", many)
    model = adapted(make())
    with torch.no_grad(), model.disable_adapter():
        base = logits(model)
    want = logits(model)
    lean_adapter(model)
    assert is_lean(model)
    got = logits(model)
    moved = (want - base).abs().max()
    rounding = 1e-5 if model.dtype == torch.float32 else 0.02
    assert moved > 20 * rounding * want.abs().max() / 10
    assert (got - want).abs().max() <= rounding * want.abs().max()
    with model.disable_adapter():
        torch.testing.assert_close(logits(model), base, rtol=0, atol=0)
    plain = model.unload()
    assert not is_lean(plain)
    torch.testing.assert_close(logits(plain), base, rtol=0, atol=0)


def test_kinds_of_adapters_that_are_not_plain_lora_stay_as_peft_has_them(tmp_path):
    model = adapted(llama(), use_dora=True)
    want = logits(model)
    lean_adapter(model)
    assert not is_lean(model)
    adapted(llama()).save_pretrained(tmp_path)
    two = PeftModel.from_pretrained(adapted(llama()).unload(), tmp_path)
    two.load_adapter(tmp_path, "other")
    two.base_model.set_adapter(["default", "other"])
    lean_adapter(two)
    assert not is_lean(two)
    torch.testing.assert_close(logits(model), want, rtol=0, atol=0)


@pytest.mark.parametrize("sets", [1, 5])
def test_the_head_sees_rows_that_lie_together_and_says_the_same(sets):
    model = llama()
    seen = []
    head = model.get_output_embeddings()
    ids = IDS.repeat(2, 1)[:sets]
    with torch.no_grad():
        want = model(input_ids=ids, logits_to_keep=1).logits
        contiguous_head(model)
        head.register_forward_pre_hook(lambda _, given: seen.append(given[0].stride()))
        got = model(input_ids=ids, logits_to_keep=1).logits
    assert seen == [(64, 64, 1)]
    torch.testing.assert_close(got, want)


def test_layers_that_a_block_gives_the_same_states_share_one_product(monkeypatch):
    """q, k and v, gate and up: 7 adapted layers a block, 4 products with an A.

    Ranks may differ, and layers may be asked in any order.
    """
    model = adapted(quantized(), rank_pattern={"k_proj": 2, "up_proj": 6})
    want = logits(model)
    lean_adapter(model)
    downs, linear = [], torch.nn.functional.linear

    def counted(x, weight, bias=None):
        if weight.dtype == torch.float32:  # an A
            downs.append(len(weight))
        return linear(x, weight, bias)

    monkeypatch.setattr("edgepers.model.lean_adapter.F.linear", counted)
    assert (logits(model) - want).abs().max() <= 0.02 * want.abs().max()
    assert sorted(downs) == sorted([4 + 2 + 4, 4, 4 + 6, 4] * 2)
    attention = model.base_model.model.model.layers[0].self_attn
    one, other = (
        torch.randn(1, 5, 64, dtype=torch.bfloat16, generator=torch.Generator().manual_seed(i)) for i in (0, 1)
    )
    with torch.no_grad():
        alone = {layer: getattr(attention, layer)(one.clone()) for layer in ("v_proj", "q_proj", "k_proj")}
        mixed = attention.v_proj(one), attention.v_proj(other), attention.q_proj(one), attention.k_proj(one)
    torch.testing.assert_close(mixed[0], alone["v_proj"])
    torch.testing.assert_close(mixed[2], alone["q_proj"])
    torch.testing.assert_close(mixed[3], alone["k_proj"])
    assert (mixed[1] - mixed[0]).abs().max() > 0.01
