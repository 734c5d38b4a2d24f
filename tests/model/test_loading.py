"""Reading weight files: what of transformers is replaced meanwhile, and what a tokenizer is told by the model."""

import pytest
from transformers import AutoTokenizer, modeling_utils

from edgepers.assets import model_folder
from edgepers.model.loading import _read_not_mapped, _settle_end_token


def test_transformers_still_opens_weight_files_by_the_name_that_is_replaced():
    """Where it does not, files are mapped, and the whole of them stays in memory."""
    opened = modeling_utils.safe_open
    with _read_not_mapped():
        assert modeling_utils.safe_open is not opened
    assert modeling_utils.safe_open is opened
    assert "safe_open" in modeling_utils.PreTrainedModel._load_pretrained_model.__code__.co_names


@pytest.mark.parametrize(("ends", "named"), [([2, 1], "<|user|>"), (1, "<|end|>"), ([], None), (None, None)])
def test_a_tokenizer_that_names_no_end_takes_the_models(ends, named):
    tokenizer = AutoTokenizer.from_pretrained(model_folder())
    _settle_end_token(tokenizer, [2])
    assert tokenizer.eos_token == "<|end|>"  # its own stays
    tokenizer.eos_token = None
    _settle_end_token(tokenizer, ends)
    assert tokenizer.eos_token == named
