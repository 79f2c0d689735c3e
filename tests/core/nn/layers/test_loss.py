"""Loss modules equal their functions."""

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.nn import functional as F

LOGITS = lucid.random.randn(4, 3)
OTHER = lucid.random.rand(4, 3)
LABELS = np.array([0, 2, 1, 1])
WEIGHT = [1.0, 2.0, 0.5]


@pytest.mark.parametrize(
    ("loss", "target", "expected"),
    [
        (
            nn.CrossEntropyLoss(WEIGHT, 1, "sum", 0.1),
            LABELS,
            lambda: F.cross_entropy(LOGITS, LABELS, WEIGHT, 1, "sum", 0.1),
        ),
        (nn.NLLLoss(WEIGHT, 1), LABELS, lambda: F.nll_loss(LOGITS, LABELS, WEIGHT, 1)),
        (
            nn.BCEWithLogitsLoss(WEIGHT, "none", [3.0, 1.0, 1.0]),
            OTHER,
            lambda: F.binary_cross_entropy_with_logits(
                LOGITS, OTHER, WEIGHT, "none", [3.0, 1.0, 1.0]
            ),
        ),
        (nn.MSELoss("sum"), OTHER, lambda: F.mse_loss(LOGITS, OTHER, "sum")),
        (nn.L1Loss(), OTHER, lambda: F.l1_loss(LOGITS, OTHER)),
        (nn.SmoothL1Loss(beta=0.2), OTHER, lambda: F.smooth_l1_loss(LOGITS, OTHER, beta=0.2)),
        (nn.HuberLoss(delta=0.2), OTHER, lambda: F.huber_loss(LOGITS, OTHER, delta=0.2)),
    ],
)
def test_loss_equals_functional(loss, target, expected):
    np.testing.assert_array_equal(loss(LOGITS, target).numpy(), expected().numpy())


def test_class_weights_are_buffers():
    loss = nn.CrossEntropyLoss(WEIGHT)
    assert list(loss.state_dict()) == ["weight"]
    assert list(loss.parameters()) == []
    assert nn.CrossEntropyLoss().weight is None
    assert repr(nn.MSELoss("sum")) == "MSELoss(reduction='sum')"


def test_constructor_rejects_unknown_reduction():
    with pytest.raises(ValueError, match=r"L1Loss: .*reduction.*'mean', 'sum' or 'none'"):
        nn.L1Loss("average")
