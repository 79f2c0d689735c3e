"""Messages of common mistakes: what was expected, what was given, and one remedy."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import lucid
from lucid import nn
from lucid.nn import functional as F

X = lucid.ones(2, 3)


@pytest.mark.parametrize(
    ("call", "error", "facts"),
    [
        (
            lambda: F.cross_entropy(X, lucid.ones(2)),
            ValueError,
            ("integer class indices of shape (2,)", "(2, 3)", 'target.astype("int64")'),
        ),
        (lambda: X.view(-1, 4), ValueError, ("6 elements", "(-1, 4)", "(2, 3)")),
        (lambda: X.reshape(4, 2), ValueError, ("6 elements", "(4, 2)", "(2, 3)")),
        (lambda: X.reshape(-1, -1), ValueError, ("at most one -1", "(-1, -1)")),
        (lambda: lucid.stack([X, X, X[:1]]), ValueError, ("stack", "(2, 3)", "(1, 3)", "0 and 2")),
        (
            lambda: lucid.concatenate([X, lucid.ones(3, 4)]),
            ValueError,
            ("concatenate", "axis 0", "(2, 3) and (3, 4)"),
        ),
        (lambda: lucid.concatenate([X, X[0]]), ValueError, ("(2, 3) and (3,)",)),
        (lambda: -(X > 0), TypeError, ("-x", "bool", "~x or logical_not(x)")),
        (lambda: X + lucid.ones(2, 4), ValueError, ("broadcast, got (2, 3) and (2, 4)",)),
        (
            lambda: F.interpolate(lucid.ones(1, 3, 4, 4), scale_factor=2, mode="bicubic"),
            ValueError,
            ("interpolate", "'nearest' or 'bilinear'", "'bicubic'"),
        ),
        (lambda: lucid.data.DataLoader([1], batchsize=2), TypeError, ("use batch_size=",)),
        (lambda: nn.Conv2d(3, 4, 3, paddin=1), TypeError, ("use padding=",)),
    ],
)
def test_operations(call: Callable[[], object], error: type[Exception], facts: tuple[str, ...]):
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    assert not [fact for fact in facts if fact not in message], message
    assert message == message.strip()


@pytest.mark.parametrize(
    ("shape", "remedy"),
    [
        ((1, 8, 9, 3), "x.transpose(0, 3, 1, 2)"),
        ((3, 8, 9), "x[None]"),
        ((8, 9, 3), "x.transpose(2, 0, 1)[None]"),
    ],
)
def test_remedy_for_image_layouts(shape: tuple[int, ...], remedy: str):
    conv, x = nn.Conv2d(3, 4, 3), lucid.ones(*shape)
    with pytest.raises(ValueError, match=rf"\(N, 3, H, W\), got .*{re.escape(remedy)}$"):
        conv(x)
    assert conv(eval(remedy)).shape[1] == 4


def test_state_dict_of_a_classifier_with_other_classes():
    class Classifier(nn.Module):
        head_prefixes = ("fc.",)

        def __init__(self, num_classes: int) -> None:
            super().__init__()
            self.num_classes = num_classes
            self.fc = nn.Linear(4, num_classes)

    with pytest.raises(lucid.StateDictError, match="num_classes=5"):
        Classifier(3).load_state_dict(Classifier(5).state_dict())


@pytest.mark.parametrize(
    ("content", "got"), [(b"epoch 1, loss 0.25\n", "text"), (b"PK\3\4" + bytes(99), "damaged")]
)
def test_weights_that_are_no_checkpoint(tmp_path: Path, content: bytes, got: str):
    path = tmp_path / "net.pth"
    path.write_bytes(content)
    with pytest.raises(lucid.WeightFileError, match=rf"net\.pth: expected .*got .*{got}.*download"):
        lucid.load(path)
