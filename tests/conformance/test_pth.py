"""Checkpoints that PyTorch and torchvision write themselves, in every form they have."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import lucid

DTYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
]
UNSIGNED = [torch.uint16, torch.uint32, torch.uint64]


@pytest.fixture(params=["zip", "legacy", "zip, protocol 4", "legacy, protocol 5"])
def save(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """``torch.save`` in one of its forms; gives the path."""

    def save(value: Any, filename: str = "w.pth") -> Path:
        form, _, protocol = request.param.partition(", protocol ")
        torch.save(
            value,
            tmp_path / filename,
            _use_new_zipfile_serialization=form == "zip",
            pickle_protocol=int(protocol or 2),
        )
        return tmp_path / filename

    return save


def as_array(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def assert_loads(path: Path, expected: dict[str, torch.Tensor]) -> None:
    loaded = lucid.load(path)
    assert list(loaded) == list(expected)
    for key, tensor in expected.items():
        array = as_array(tensor)
        assert loaded[key].dtype == array.dtype, key
        assert loaded[key].shape == array.shape, key
        np.testing.assert_array_equal(loaded[key].numpy(), array, err_msg=key)


def test_every_element_type(save: Any) -> None:
    numbers = torch.tensor([[0.0, 1, 2.5], [100, 5, 255]])
    state = {str(dtype): numbers.to(dtype) for dtype in (*DTYPES, *UNSIGNED)}
    state |= {f"scalar {dtype}": torch.tensor(3).to(dtype) for dtype in DTYPES}
    state |= {f"empty {dtype}": torch.zeros(0, 3, dtype=dtype) for dtype in DTYPES}
    assert_loads(save(state), state)


def views() -> Iterator[tuple[str, torch.Tensor]]:
    base = torch.arange(120.0).reshape(2, 3, 4, 5)
    yield "base", base
    yield "again", base
    yield "transposed", base.transpose(1, 3)
    yield "channels last", base.contiguous(memory_format=torch.channels_last)
    yield "sliced", base[:, 1:, ::2, 1:4]
    yield "one", base[1, 2, 3, 4]
    yield "row", base[1, 2]
    yield "diagonal", base[0, 0].diagonal()
    yield "expanded", base[:1, :1, :1, :2].expand(3, 2, 4, 2)
    yield "unfolded", torch.arange(10).unfold(0, 4, 2)
    yield "nothing", base[:0]
    yield "as integers", torch.arange(8, dtype=torch.int32)[2:6]
    a, b = torch.arange(6).chunk(2)
    yield "first half", a
    yield "second half", b


def test_views_share_storages(save: Any) -> None:
    state = dict(views())
    assert_loads(save(state), state)


def test_parameters_buffers_and_tensors_with_attributes(save: Any) -> None:
    tagged = torch.arange(3.0)
    tagged.origin = "here"  # type: ignore[attr-defined]
    state: dict[str, Any] = OrderedDict(
        parameter=nn.Parameter(torch.ones(2, 2)),
        buffer=nn.Buffer(torch.zeros(3)),
        tagged=tagged,
        frozen=nn.Parameter(torch.ones(1), requires_grad=False),
        leaf=torch.ones(2, requires_grad=True),
    )
    assert_loads(save(state), state)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 2)
        self.tied = nn.Linear(4, 2)
        self.tied.weight = self.fc.weight


def trained() -> dict[str, Any]:
    """All that a training script may put beside its model."""
    import argparse
    import datetime
    import functools
    import pathlib

    model = Net()
    optimizer = torch.optim.Adam(model.parameters())
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 9])
    sum(p.sum() for p in model.parameters()).backward()
    optimizer.step()
    scheduler.step()
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "scaler": None,
        "epoch": 7,
        "rng": torch.get_rng_state(),
        "numpy_rng": np.random.RandomState(0).get_state(),
        "best": np.float64(0.25),
        "args": argparse.Namespace(lr=0.1, out=pathlib.Path("out"), device=torch.device("cpu")),
        "classes": ("cat", "dog"),
        "seen": {1, 2},
        "dtype": torch.bfloat16,
        "size": torch.Size([2, 3]),
        "spectrum": torch.zeros(2, dtype=torch.complex64),
        "started": datetime.datetime(2024, 1, 2, 3, 4),
        "version": torch.__version__,
        "numpy_generator": np.random.default_rng(0),
        "array": np.array([{}, 1], object),
        "partial": functools.partial(torch.add, alpha=2),
        "layer": nn.Linear(2, 2),
        "class": nn.ReLU,
        "sparse": torch.zeros(2).to_sparse(),
        "meta": torch.zeros(2, device="meta"),
        "exception": ValueError("no"),
    }


def test_checkpoints_of_trainings(save: Any) -> None:
    checkpoint = trained()
    expected = dict(checkpoint["model"])
    assert_loads(save(checkpoint), expected)
    for key in ("state_dict", "model_state_dict"):
        assert_loads(save({"epoch": 1, key: checkpoint["model"]}), expected)
    assert_loads(save(checkpoint["model"], "w.bin"), expected)


@pytest.mark.filterwarnings("ignore::lucid.WeightFileWarning", "ignore::DeprecationWarning")
def test_wrapped_models(save: Any) -> None:
    """Files of torch.compile, DataParallel and AveragedModel load into the plain model."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    expected = {key: value.clone() for key, value in net.state_dict().items()}
    averaged = torch.optim.swa_utils.AveragedModel(net, use_buffers=True)
    states = [
        torch.compile(net).state_dict(),
        nn.DataParallel(net).state_dict(),
        torch.compile(nn.DataParallel(net)).state_dict(),
        averaged.state_dict(),
        {"epoch": 3, "state_dict": net.state_dict(), "state_dict_ema": averaged.state_dict()},
    ]
    net[0] = torch.compile(net[0])  # type: ignore[assignment]
    states.append(net.state_dict())
    for state in states:
        model = lucid.nn.Sequential(lucid.nn.Conv2d(3, 4, 3), lucid.nn.BatchNorm2d(4))
        lucid.weights.load_weights(model, save(state))
        for key, value in model.state_dict().items():
            np.testing.assert_array_equal(value.numpy(), expected[key].numpy())


def test_without_checksums(tmp_path: Path) -> None:
    state = dict(views())
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(state, tmp_path / "w.pth")
    finally:
        torch.serialization.set_crc32_options(before)
    assert_loads(tmp_path / "w.pth", state)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Net, "[Ss]ave the weights instead"),
        (lambda: torch.zeros(2), "expected a state dict"),
        (lambda: [torch.zeros(2)], "expected a state dict"),
        (lambda: {"w": torch.zeros(2, dtype=torch.complex64)}, "unsupported dtype complex64"),
        (lambda: {"w": torch.zeros(2).to_sparse()}, "entry 'w' is a sparse tensor"),
        (
            lambda: {"w": torch.quantize_per_tensor(torch.zeros(2), 0.1, 0, torch.qint8)},
            "entry 'w' is a quantized tensor",
        ),
        (lambda: {"w": torch.zeros(2, device="meta")}, "entry 'w' is a tensor on the meta device"),
    ],
    ids=["module", "tensor", "list", "complex", "sparse", "quantised", "meta"],
)
@pytest.mark.filterwarnings("ignore")
def test_pickles_beyond_state_dicts_are_rejected(save: Any, make: Any, message: str) -> None:
    path = save(make())
    with pytest.raises(lucid.WeightFileError, match=message):
        lucid.load(path)


@pytest.mark.filterwarnings("ignore")
def test_a_torchscript_program_is_refused(tmp_path: Path) -> None:
    torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / "w.pt"))
    with pytest.raises(lucid.WeightFileError, match="TorchScript"):
        lucid.load(tmp_path / "w.pt")


def test_every_prefix_of_a_file_is_refused(save: Any) -> None:
    path = save(OrderedDict(w=torch.arange(4.0), n=torch.tensor(3)))
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(lucid.WeightFileError, match=r"w\.pth"):
            lucid.load(path)
