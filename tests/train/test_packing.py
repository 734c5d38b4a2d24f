import pytest
import torch

from edgepers.model.language_model import Example, LanguageModel
from edgepers.train import packing as packing_module
from edgepers.train.attention import NAME, packed_attention
from edgepers.train.packing import bins, common_beginning, pack, packing

PADDED_ONLY = {"gpt2": False, "mpt": True}  # MPT's layers do not look their attention up by name


def example(tokens, prompt):
    return Example(tuple(range(20, 20 + tokens)), prompt, False)


def test_bins_hold_every_set_once_and_no_more_than_asked():
    lengths = [5, 90, 40, 7, 33, 61, 120, 8]
    groups = bins(lengths, 100)
    assert sorted(i for group in groups for i in group) == list(range(8))
    assert all(sum(lengths[i] for i in group) <= 100 or len(group) == 1 for group in groups)
    assert groups[0] == [6]  # too long for any: alone
    assert len(groups) == 4  # 120; 90 + 8; 61 + 33 + 5; 40 + 7
    assert bins([], 100) == []


def test_a_pack_holds_what_predicts_a_response_and_nothing_else():
    packed = pack([example(5, 2), example(3, 2)], torch.device("cpu"))
    assert packed.ids.shape == packed.positions.shape == (1, 64)
    assert packed.ids[0, :6].tolist() == [20, 21, 22, 23, 20, 21]  # a set's last token predicts nothing
    assert packed.positions[0, :6].tolist() == [0, 1, 2, 3, 0, 1]
    assert packed.lengths == (4, 2)
    assert packed.rows.tolist() == [1, 2, 3, 5]
    assert packed.targets.tolist() == [22, 23, 24, 22]


def test_what_all_sets_begin_with_stands_once_in_a_pack():
    sets = [Example((1, 2, 3, 4, 50, 51), 4, False), Example((1, 2, 3, 9, 8, 60), 5, False)]
    assert common_beginning(sets) == 3
    packed = pack(sets, torch.device("cpu"), 3)
    assert packed.ids[0, :7].tolist() == [1, 2, 3, 4, 50, 9, 8]
    assert packed.positions[0, :7].tolist() == [0, 1, 2, 3, 4, 3, 4]
    assert (packed.shared, packed.lengths) == (3, (2, 2))
    assert packed.rows.tolist() == [3, 4, 6]  # the 4, the 50 and the 8 predict responses
    assert packed.targets.tolist() == [50, 51, 60]


def test_a_beginning_leaves_each_set_the_token_that_predicts_its_response():
    assert common_beginning([Example((1, 2, 3, 4), 2, False), Example((1, 2, 3, 5), 3, False)]) == 1
    assert common_beginning([Example((1, 2, 3, 4), 2, False)]) == 0  # one set shares with nobody
    assert common_beginning([]) == 0


def alone(query, key, value, lengths, shared):
    """Each set by itself, the shared rows before its own: the slow, obvious way."""
    parts = [x.split([shared, *lengths], 2) for x in (query, key, value)]
    found = []
    for i in range(len(lengths) + 1):
        a, b, c = (part[i] for part in parts)
        if i:
            b, c = (torch.cat([part[0], x], 2) for part, x in zip(parts[1:], (b, c), strict=True))
        b, c = (x.repeat_interleave(query.shape[1] // key.shape[1], 1) for x in (b, c))
        hidden = torch.ones(a.shape[2], b.shape[2]).triu(1 + b.shape[2] - a.shape[2]).bool()
        found.append((a @ b.transpose(2, 3) / 8**0.5).masked_fill(hidden, -torch.inf).softmax(-1) @ c)
    return torch.cat(found, 2)


@pytest.mark.parametrize("shared", [0, 5, 40])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_and_its_gradients_are_those_of_float64_set_by_set(groups, dtype, shared):
    torch.manual_seed(0)
    lengths = [1, 7, 16, 35, 40, 21]
    total = shared + sum(lengths) + 10  # idle ones at the end
    q, k, v = (torch.randn(1, heads, total, 8).to(dtype).requires_grad_() for heads in (4, groups, groups))
    weight = torch.randn(1, total, 4, 8)
    out, _ = packed_attention(None, q, k, v, None, set_lengths=lengths, shared=shared)
    (out.float() * weight).sum().backward()
    truth = [x.detach().double().requires_grad_() for x in (q, k, v)]
    expected = alone(*(x[:, :, : total - 10] for x in truth), lengths, shared)
    expected = torch.nn.functional.pad(expected, (0, 0, 0, 10)).transpose(1, 2)
    (expected * weight).sum().backward()
    slack = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 5e-2, "atol": 8e-2}
    torch.testing.assert_close(out.double(), expected, **slack)
    for mine, right in zip((q, k, v), truth, strict=True):
        torch.testing.assert_close(mine.grad.double(), right.grad, **slack)


@pytest.mark.parametrize("options", [{"sliding_window": 64}, {"softcap": 1e6}, {"sliding_window": 1000}])
def test_the_shared_beginning_is_seen_the_slow_way_too(options):
    """With windows and soft caps that hide nothing, the same as without."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, heads, 70, 8) for heads in (4, 2, 2))
    plain, _ = packed_attention(None, q, k, v, None, set_lengths=[30, 20], shared=20)
    other, _ = packed_attention(None, q, k, v, None, set_lengths=[30, 20], shared=20, dropout=1e-12, **options)
    torch.testing.assert_close(other, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{"sliding_window": 5}, {"softcap": 2.0}, {"sliding_window": 3, "softcap": 1.0}])
def test_windows_and_soft_caps_are_those_of_transformers_own_attention(options):
    from transformers.models.gemma2.modeling_gemma2 import eager_attention_forward

    torch.manual_seed(0)
    q, k, v = (torch.randn(1, heads, 20, 8) for heads in (4, 2, 2))
    module = torch.nn.Module()
    module.num_key_value_groups = 2
    window = options.get("sliding_window", 20)
    mask = torch.zeros(20, 20).masked_fill(~torch.ones(20, 20).bool().tril().triu(1 - window), -torch.inf)[None, None]
    expected, _ = eager_attention_forward(module, q, k, v, mask, scaling=8**-0.5, softcap=options.get("softcap"))
    out, _ = packed_attention(module, q, k, v, None, set_lengths=[20], **options)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)


def test_a_model_that_lets_sets_see_each_other_is_padded(llm, monkeypatch):
    """The same sets, the same states, whichever way they go."""
    packed = pack(
        [llm.example("What is my dog called?", "Moon.", 256), llm.example("Hi", "Hello, Emily", 256)], llm.device
    )
    with packing(llm) as states_of, torch.no_grad():
        assert states_of.packs
        assert llm.decoder.config._attn_implementation == NAME
        one = states_of(packed)
    assert llm.decoder.config._attn_implementation != NAME
    monkeypatch.setattr(packing_module, "_same", lambda one, other: False)
    with packing(llm) as states_of, torch.no_grad():
        assert not states_of.packs
        two = states_of(packed)
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)


def test_the_attention_is_given_back_after_an_error(llm):
    before = llm.decoder.config._attn_implementation
    with pytest.raises(RuntimeError, match="on purpose"), packing(llm):
        raise RuntimeError("on purpose")
    assert llm.decoder.config._attn_implementation == before
    assert isinstance(llm, LanguageModel)
