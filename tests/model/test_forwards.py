import pytest
import torch
from torch import nn

from edgepers.model.forwards import replaced_forwards


def test_a_module_computes_otherwise_inside_and_as_before_after_an_error():
    layer, other = nn.Linear(2, 2), nn.Linear(2, 2)
    x = torch.ones(1, 2)
    own = layer(x)
    with pytest.raises(RuntimeError, match="inside"), replaced_forwards([(layer, lambda x: x + 1)]) as count:
        assert count == 1
        assert layer(x).tolist() == [[2.0, 2.0]]
        assert "forward" not in vars(other)
        raise RuntimeError("inside")
    assert torch.equal(layer(x), own)
    assert "forward" not in vars(layer)


def test_an_inner_block_gives_the_outer_ones_function_back():
    layer, x = nn.Linear(2, 2), torch.ones(1, 2)
    with replaced_forwards([(layer, lambda x: x + 1)]):
        with replaced_forwards([(layer, lambda x: x + 2), (layer, lambda x: x + 3)]):
            assert layer(x).tolist() == [[4.0, 4.0]]
        assert layer(x).tolist() == [[2.0, 2.0]]
    assert "forward" not in vars(layer)
