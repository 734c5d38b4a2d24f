"""Reading weight files: what of transformers is replaced meanwhile."""

from transformers import modeling_utils

from edgepers.model.loading import _read_not_mapped


def test_transformers_still_opens_weight_files_by_the_name_that_is_replaced():
    """Where it does not, files are mapped, and the whole of them stays in memory."""
    opened = modeling_utils.safe_open
    with _read_not_mapped():
        assert modeling_utils.safe_open is not opened
    assert modeling_utils.safe_open is opened
    assert "safe_open" in modeling_utils.PreTrainedModel._load_pretrained_model.__code__.co_names
