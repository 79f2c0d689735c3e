"""Containers: Sequential, ModuleList, ModuleDict."""

import pytest

import lucid
from lucid import nn


def test_sequential_calls_modules_in_order():
    net = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    x = lucid.random.randn(4, 3)
    assert net(x).tolist() == net[1](net[0](x)).tolist()
    assert len(net) == 2
    assert list(net) == [net[0], net[-1]]
    assert net[0] in net
    assert nn.ReLU() not in net


def test_sequential_names_slices_and_append():
    net = nn.Sequential({"a": nn.Identity(), "b": nn.ReLU(), "c": nn.Sigmoid()})
    assert net.b is net[1]
    assert [name for name, _ in net[1:].named_children()] == ["b", "c"]
    assert type(net[1:]) is nn.Sequential
    assert net[1:][0] is net.b
    assert net.append(nn.Flatten()) is net
    assert len(net.extend([nn.Identity(), nn.Identity()])) == 6
    net[0] = nn.GELU()
    assert isinstance(net.a, nn.GELU)


def test_module_list_behaves_like_a_list():
    layers = nn.ModuleList([nn.Linear(1, 1), nn.ReLU()])
    layers.append(nn.Sigmoid()).insert(0, nn.Identity())
    assert [type(m) for m in layers] == [nn.Identity, nn.Linear, nn.ReLU, nn.Sigmoid]
    assert [name for name, _ in layers.named_parameters()] == ["1.weight", "1.bias"]
    del layers[0]
    assert list(layers.state_dict()) == ["0.weight", "0.bias"]
    assert type(layers[:2]) is nn.ModuleList
    assert len(layers[:2]) == 2
    del layers[-1]
    assert len(layers) == 2


def test_module_list_accepts_one_module_twice():
    layer = nn.Linear(2, 2)
    layers = nn.ModuleList([layer, layer])
    assert len(list(layers)) == 2
    assert layers.distinct_parameter_size == 6
    assert layers.parameter_size == 12


def test_module_dict_behaves_like_a_dict():
    heads = nn.ModuleDict({"cls": nn.Linear(2, 3)})
    heads["box"] = nn.Linear(2, 4)
    assert list(heads) == list(heads.keys()) == ["cls", "box"]
    assert list(heads.values()) == [heads["cls"], heads.box]
    assert dict(heads.items())["box"] is heads["box"]
    assert "cls" in heads
    assert len(heads) == 2
    del heads["cls"]
    assert list(heads.state_dict()) == ["box.weight", "box.bias"]
    with pytest.raises(KeyError):
        heads["cls"]


@pytest.mark.parametrize(
    ("use", "error", "message"),
    [
        (lambda: nn.Sequential(nn.ReLU())[1], IndexError, "index 1 .*Sequential of length 1"),
        (lambda: nn.ModuleList([])[-1], IndexError, "index -1 .*ModuleList of length 0"),
        (lambda: nn.Sequential(3), TypeError, "'0'.* got int"),
        (lambda: nn.ModuleList([nn.ReLU()]).insert(0, 3), TypeError, "Module, got int"),
        (lambda: nn.ModuleDict({"keys": nn.ReLU()}), ValueError, "cannot register 'keys'"),
        (lambda: nn.ModuleList([])(1), NotImplementedError, "ModuleList defines no forward"),
    ],
)
def test_invalid_use_raises(use, error, message):
    with pytest.raises(error, match=message):
        use()


def test_failed_insert_changes_nothing():
    layers = nn.ModuleList([nn.ReLU(), nn.GELU()])
    with pytest.raises(TypeError):
        layers.insert(0, None)
    assert [type(m) for m in layers] == [nn.ReLU, nn.GELU]


@pytest.mark.parametrize(
    ("make", "remedy"),
    [
        (lambda: nn.Sequential([nn.ReLU()]), r"got list; .*Sequential\(\*layers\)"),
        (lambda: nn.Sequential(nn.ReLU), r"got type; create an instance: ReLU\(\)"),
        (lambda: nn.Dropout("0.5"), r"expected a number for p, got '0\.5'"),
    ],
)
def test_wrong_argument_error_names_the_remedy(make, remedy):
    with pytest.raises(TypeError, match=remedy):
        make()
