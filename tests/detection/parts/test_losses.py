from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lucid
from lucid import Tensor
from lucid.nn import functional as F
from lucid.testing import gradcheck
from lucid_models_detection import boxes as box_ops
from lucid_models_detection import parts
from lucid_models_detection.parts import ciou_loss, diou_loss, giou_loss

LOSSES = (giou_loss, diou_loss, ciou_loss)
#: Pairs that overlap, contain each other, are apart along one axis, and apart along both.
FIRST = np.array([[0, 0, 10, 8], [1, 1, 20, 22], [0, 0, 5, 5], [0, 0, 5, 7.0]])
SECOND = np.array([[4, 3, 16, 9], [4, 5, 9, 11], [8, 1, 12, 4], [9, 11, 16, 15.0]])


def tensors() -> list[Tensor]:
    return [Tensor(boxes.copy(), requires_grad=True) for boxes in (FIRST, SECOND)]


def test_giou_loss_is_one_minus_giou() -> None:
    expected = 1 - np.diag(box_ops.giou(FIRST, SECOND))
    np.testing.assert_allclose(giou_loss(FIRST, SECOND).numpy(), expected, atol=1e-7)


def test_diou_and_ciou_by_hand() -> None:
    # IoU 1/7; centers (1, 1) and (2, 2), distance squared 2, diagonal squared 18.
    pair = np.array([[0.0, 0, 2, 2]]), np.array([[1.0, 1, 3, 3]])
    np.testing.assert_allclose(diou_loss(*pair).numpy(), [1 - 1 / 7 + 2 / 18], rtol=1e-6)
    np.testing.assert_allclose(ciou_loss(*pair).numpy(), [1 - 1 / 7 + 2 / 18], rtol=1e-6)
    # One center, IoU 1/2, angles atan(1) and atan(2).
    pair = np.array([[0.0, 0, 2, 2]]), np.array([[-1.0, 0, 3, 2]])
    v = 4 / np.pi**2 * (np.arctan(2) - np.arctan(1)) ** 2
    expected = 0.5 + v * v / (0.5 + v)
    np.testing.assert_allclose(diou_loss(*pair).numpy(), [0.5], rtol=1e-6)
    np.testing.assert_allclose(ciou_loss(*pair).numpy(), [expected], rtol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_equal_boxes_have_zero_loss_and_losses_are_symmetric(loss: Any) -> None:
    np.testing.assert_allclose(loss(FIRST, FIRST).numpy(), 0, atol=1e-7)
    np.testing.assert_allclose(loss(FIRST, SECOND).numpy(), loss(SECOND, FIRST).numpy())


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("loss", [giou_loss, diou_loss])
def test_gradients(loss: Any, reduction: str) -> None:
    gradcheck(lambda a, b: loss(a, b, reduction), tensors())


def test_gradient_of_ciou_with_its_weight_held_constant() -> None:
    first, second = tensors()
    ciou_loss(first, second, "sum").backward()
    iou = np.diag(box_ops.iou(FIRST, SECOND))

    def v(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        angles = [np.arctan((x[:, 2] - x[:, 0]) / (x[:, 3] - x[:, 1])) for x in (a, b)]
        return np.asarray(4 / np.pi**2 * (angles[0] - angles[1]) ** 2)

    weight = v(FIRST, SECOND) / (1 - iou + v(FIRST, SECOND))

    def value(a: np.ndarray, b: np.ndarray) -> float:
        return float(diou_loss(a, b).numpy().sum() + (weight * v(a, b)).sum())

    for i, tensor in enumerate((first, second)):
        assert tensor.grad is not None
        for where in np.ndindex(4, 4):
            step = np.zeros((4, 4))
            step[where] = 1e-6
            given = [FIRST, SECOND]
            sides = []
            for sign in (1, -1):
                moved = [b + sign * step if j == i else b for j, b in enumerate(given)]
                sides.append(value(*moved))
            slope = (sides[0] - sides[1]) / 2e-6
            assert tensor.grad.numpy()[where] == pytest.approx(slope, abs=1e-7)


@pytest.mark.parametrize("loss", LOSSES)
def test_descending_moves_boxes_onto_each_other(loss: Any) -> None:
    boxes = Tensor(np.array([[0.0, 0, 4, 4]]), requires_grad=True)
    target = np.array([[6.0, 3, 12, 8]])
    before = loss(boxes, target).item()
    for _ in range(300):
        boxes.grad = None
        loss(boxes, target, "sum").backward()
        assert boxes.grad is not None
        boxes = Tensor(boxes.numpy() - 1.5 * boxes.grad.numpy(), requires_grad=True)
    assert loss(boxes, target).item() < 0.25 * before


@pytest.mark.parametrize("loss", LOSSES)
def test_boxes_without_area_give_finite_values_and_gradients(loss: Any) -> None:
    point, line = [3.0, 3, 3, 3], [1.0, 2, 5, 2]
    for a, b in ((point, point), (point, line), (line, [0.0, 0, 4, 4])):
        first, second = (Tensor(np.array([x]), requires_grad=True) for x in (a, b))
        value = loss(first, second, "sum")
        value.backward()
        assert first.grad is not None
        assert second.grad is not None
        assert np.isfinite([value.item(), *first.grad.numpy()[0], *second.grad.numpy()[0]]).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_shapes_and_dtypes(loss: Any) -> None:
    assert loss(FIRST[0], SECOND[0]).shape == ()
    assert loss(FIRST.reshape(2, 2, 4), SECOND.reshape(2, 2, 4)).shape == (2, 2)
    assert loss(FIRST, SECOND).dtype == np.float64
    assert loss(FIRST.astype(np.float32), SECOND.astype(np.int64)).dtype == np.float32
    narrow = Tensor(FIRST.astype(np.float32), requires_grad=True)
    loss(narrow, SECOND, "sum").backward()
    assert narrow.grad is not None
    assert narrow.grad.dtype == np.float32


@pytest.mark.parametrize("loss", LOSSES)
def test_empty_boxes(loss: Any) -> None:
    none = lucid.zeros(0, 4).requires_grad_()
    assert loss(none, none).shape == (0,)
    for reduction in ("mean", "sum"):
        none.grad = None
        value = loss(none, lucid.zeros(0, 4), reduction)
        value.backward()
        assert value.item() == 0
        assert none.grad is not None
        assert none.grad.shape == (0, 4)


@pytest.mark.parametrize("loss", LOSSES)
def test_bad_arguments(loss: Any) -> None:
    with pytest.raises(ValueError, match=r"got \(4, 4\) and \(1, 4\)"):
        loss(FIRST, SECOND[:1])
    with pytest.raises(ValueError, match=r"boxes1 and boxes2 .*\(4, 3\) and \(4, 3\)"):
        loss(FIRST[:, :3], SECOND[:, :3])
    with pytest.raises(ValueError, match=r"reduction: .* got 'avg'"):
        loss(FIRST, SECOND, "avg")


def test_focal_loss_is_exported_from_core() -> None:
    assert parts.sigmoid_focal_loss is F.sigmoid_focal_loss
