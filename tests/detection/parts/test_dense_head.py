from __future__ import annotations

import numpy as np

import lucid
from lucid import nn
from lucid_models_detection.parts import DenseHead


def test_outputs_are_in_the_order_of_the_anchors() -> None:
    head = DenseHead(8, num_anchors=2, num_outputs=3)
    nn.init.zeros_(head.output.weight)
    head.output.bias.data[:] = np.arange(6)
    (out,) = head([lucid.zeros(1, 8, 2, 2)])
    assert out.shape == (1, 8, 3)
    assert out[0, :4].numpy().tolist() == [[0, 1, 2], [3, 4, 5]] * 2


def test_head_is_shared_and_starts_at_its_bias() -> None:
    head = DenseHead(8, num_anchors=2, num_outputs=3, bias=-4.5)
    outputs = head([lucid.random.rand(2, 8, 4, 6), lucid.random.rand(2, 8, 2, 3)])
    assert [out.shape for out in outputs] == [(2, 48, 3), (2, 12, 3)]
    for out in outputs:
        np.testing.assert_allclose(out.numpy(), -4.5, atol=0.01)
