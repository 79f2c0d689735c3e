"""Batches loaded in the main process."""

from __future__ import annotations

import json

import numpy as np
import pytest

import lucid
from lucid.data import DataLoader, Dataset


class Noisy(Dataset):
    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return index, lucid.random.randn(2)


def numbers(loader):
    return [batch.tolist() for batch in loader]


def in_a_row(loader):
    return [number for batch in numbers(loader) for number in batch]


@pytest.mark.parametrize(
    ("size", "batch_size", "drop_last", "batches"),
    [
        (5, 2, False, [[0, 1], [2, 3], [4]]),
        (5, 2, True, [[0, 1], [2, 3]]),
        (4, 2, True, [[0, 1], [2, 3]]),
        (2, 5, False, [[0, 1]]),
        (2, 5, True, []),
        (0, 5, False, []),
    ],
)
def test_batches_cover_the_dataset(size, batch_size, drop_last, batches):
    loader = DataLoader(range(size), batch_size, drop_last=drop_last)
    assert len(loader) == len(batches)
    assert numbers(loader) == batches
    assert numbers(loader) == batches


def test_each_epoch_has_a_seeded_order():
    first = DataLoader(range(50), 8, shuffle=True, seed=3)
    epochs = [in_a_row(first) for _ in range(3)]
    assert all(sorted(order) == list(range(50)) for order in epochs)
    assert len({tuple(order) for order in epochs}) == 3
    again = DataLoader(range(50), 8, shuffle=True, seed=3)
    assert [in_a_row(again) for _ in range(3)] == epochs
    other = DataLoader(range(50), 8, shuffle=True, seed=4)
    assert in_a_row(other) not in epochs


def test_seed_comes_from_lucid_random_if_none_is_given():
    lucid.random.seed(11)
    first = DataLoader(range(50), 8, shuffle=True)
    second = DataLoader(range(50), 8, shuffle=True)
    assert first.seed != second.seed
    lucid.random.seed(11)
    assert DataLoader(range(50)).seed == first.seed


def test_each_sample_has_its_own_seed_per_epoch():
    whole = [DataLoader(Noisy(6), 6, seed=1), DataLoader(Noisy(6), 4, shuffle=True, seed=1)]
    drawn = []
    for loader in whole:
        for _ in range(2):
            batches = list(loader)
            index = np.concatenate([batch[0].numpy() for batch in batches])
            noise = np.concatenate([batch[1].numpy() for batch in batches])
            drawn.append(noise[np.argsort(index)])
    assert len(np.unique(drawn[0])) == 12
    assert not np.isin(drawn[0], drawn[1]).any()  # another epoch
    np.testing.assert_array_equal(drawn[0], drawn[2])  # whatever batch, whatever order
    np.testing.assert_array_equal(drawn[1], drawn[3])


def test_default_generator_is_restored():
    lucid.random.seed(5)
    expected = lucid.random.rand(4).tolist()
    lucid.random.seed(5)
    drawn = [lucid.random.rand(1).item()]
    for _ in DataLoader(Noisy(3), seed=0):
        drawn.append(lucid.random.rand(1).item())
    assert drawn == expected


def test_collate_makes_the_batches():
    assert list(DataLoader("abc", 2, collate="".join)) == ["ab", "c"]


def test_abandoned_epoch_ends():
    loader = DataLoader(range(20), 4, shuffle=True, seed=0)
    reference = DataLoader(range(20), 4, shuffle=True, seed=0)
    epochs = [numbers(reference) for _ in range(2)]
    assert next(iter(loader)).tolist() == epochs[0][0]
    assert numbers(loader) == epochs[1]


def test_older_iteration_does_not_change_the_state():
    loader = DataLoader(range(6), 2)
    assert loader.batch_size == 2
    older = iter(loader)
    next(older)
    newer = iter(loader)
    assert next(newer).tolist() == [0, 1]
    state = loader.state_dict()
    assert (state["epoch"], state["position"]) == (1, 1)
    assert [batch.tolist() for batch in older] == [[2, 3], [4, 5]]
    assert loader.state_dict() == state
    assert [batch.tolist() for batch in newer] == [[2, 3], [4, 5]]
    assert loader.state_dict()["epoch"] == 2


@pytest.mark.parametrize("taken", [0, 1, 4, 5])
def test_loader_resumes_from_a_state(taken):
    reference = DataLoader(Noisy(18), 4, shuffle=True, seed=9)
    list(reference)
    everything = [batch for _ in range(2) for batch in reference]

    interrupted = DataLoader(Noisy(18), 4, shuffle=True, seed=9)
    list(interrupted)
    iterator = iter(interrupted)
    for _ in range(taken):
        next(iterator)
    state = json.loads(json.dumps(interrupted.state_dict()))

    resumed = DataLoader(Noisy(18), 4, shuffle=True, seed=1)
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    rest = [batch for _ in range(2) for batch in resumed][: 10 - taken]
    for (index, noise), (expected_index, expected_noise) in zip(
        rest, everything[taken:], strict=True
    ):
        np.testing.assert_array_equal(index.numpy(), expected_index.numpy())
        np.testing.assert_array_equal(noise.numpy(), expected_noise.numpy())


def test_batch_size_may_change_between_epochs_only():
    loader = DataLoader(range(10), 4)
    iterator = iter(loader)
    next(iterator)
    other = DataLoader(range(10), 5)
    with pytest.raises(ValueError, match="batch_size=4, got 5"):
        other.load_state_dict(loader.state_dict())
    assert other.state_dict()["position"] == 0
    list(iterator)
    other.load_state_dict(loader.state_dict())
    assert other.state_dict()["epoch"] == 1
    assert len(numbers(other)) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, r"batch_size.* got 0"),
        ({"batch_size": 2.0}, "batch_size: expected an integer"),
        ({"batch_size": True}, "batch_size: expected an integer"),
        ({"workers": -1}, "workers.* got -1"),
        ({"prefetch": 0}, "prefetch.* got 0"),
        ({"seed": -1}, "seed.* got -1"),
    ],
)
def test_bad_arguments_are_rejected(arguments, message):
    with pytest.raises(ValueError, match=message):
        DataLoader(range(3), **arguments)


@pytest.mark.parametrize(
    ("dataset", "missing"),
    [
        ((x for x in range(3)), "generator without __len__ and __getitem__"),
        (iter([1]), "list_iterator without __len__ and __getitem__"),
        ({1, 2}, "set without __getitem__"),
        (type("Endless", (), {"__getitem__": lambda self, i: i})(), "Endless without __len__"),
        (np.array(1.0), None),
        (Noisy, r"the class Noisy; create an instance: Noisy\("),
    ],
)
def test_dataset_needs_len_and_getitem(dataset, missing):
    expected = f"got {missing}" if missing else "a length: len"
    with pytest.raises(TypeError, match=f"DataLoader expected .*{expected}"):
        DataLoader(dataset)


@pytest.mark.parametrize("shuffle", [False, True])
def test_dataset_length_is_read_at_each_epoch(shuffle):
    data = [0, 1]
    loader = DataLoader(data, 2, shuffle=shuffle, seed=0)
    data.append(2)
    assert len(loader) == 2
    assert sorted(in_a_row(loader)) == [0, 1, 2]
    iterator = iter(loader)
    next(iterator)
    data.append(3)  # belongs to the next epoch
    assert len(next(iterator)) == 1
    assert next(iterator, None) is None
    assert sorted(in_a_row(loader)) == [0, 1, 2, 3]
    del data[1:]
    assert in_a_row(loader) == [0]


def test_resume_within_an_epoch_rejects_a_changed_dataset():
    data = list(range(8))
    loader = DataLoader(data, 2, seed=0)
    iterator = iter(loader)
    next(iterator)
    state = loader.state_dict()
    data.append(8)
    with pytest.raises(ValueError, match="samples=8, got 9"):
        loader.load_state_dict(state)
    data.pop()
    loader.load_state_dict(state)
    data.append(8)
    with pytest.raises(ValueError, match="8 samples, got 9"):
        iter(loader)


def test_error_names_the_sample_by_its_index():
    class Broken(Noisy):
        def __getitem__(self, index):
            return 1 // (index - 3)

    with pytest.raises(ZeroDivisionError) as caught:
        list(DataLoader(Broken(6), 2))
    assert caught.value.__notes__ == ["while reading sample 3 of Broken"]
    shapes = [np.zeros(2), np.zeros(2), np.zeros(2), np.zeros(3)]
    with pytest.raises(ValueError, match="sample 1 has") as error:
        list(DataLoader(shapes, 2))
    assert error.value.__notes__ == ["while collating samples [2, 3] of list"]


# --- several ranks --------------------------------------------------------------------------------


def shards(ranks, samples=26, batch_size=8, **options):
    loaders = [
        DataLoader(range(samples), batch_size, shuffle=True, seed=3, **options)
        for _ in range(ranks)
    ]
    for rank, loader in enumerate(loaders):
        loader.shard(rank, ranks)
    return loaders


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_shards_cover_every_batch_once(ranks):
    whole = DataLoader(range(26), 8, shuffle=True, seed=3)
    loaders = shards(ranks)
    for _ in range(2):  # epochs
        for number, (batch, *parts) in enumerate(zip(whole, *loaders, strict=True)):
            counted = [p for p, k in zip(parts, loaders, strict=True) if k.shard_fraction(number)]
            assert np.concatenate(counted).tolist() == batch.tolist()
            sizes = [len(part) for part in counted]
            assert max(sizes) - min(sizes) <= 1


def test_shard_fraction():
    loaders = shards(4)
    assert [[k.shard_fraction(batch) for k in loaders] for batch in (0, 3)] == [
        [0.25] * 4,
        [0.5, 0.5, 0, 0],
    ]


def test_rank_without_samples_gets_a_placeholder():
    loaders = shards(4)
    tails = [list(loader)[-1].tolist() for loader in loaders]
    assert [len(tail) for tail in tails] == [1, 1, 1, 1]
    assert tails[2] == tails[3] == tails[0]


@pytest.mark.slow
def test_workers_load_the_shard_of_their_rank():
    loader = shards(2, workers=1)[1]
    try:
        made = [batch.tolist() for batch in loader]
    finally:
        loader.close()
    assert made == [batch.tolist() for batch in shards(2)[1]]


def test_resume_within_an_epoch_on_another_world_size():
    whole = [batch.tolist() for batch in DataLoader(range(26), 8, shuffle=True, seed=3)]
    before = shards(2)
    for loader in before:
        iterator = iter(loader)
        next(iterator), next(iterator)
    after = shards(3)
    for loader in after:
        loader.load_state_dict(before[0].state_dict())
    rest = [np.concatenate(parts).tolist() for parts in zip(*after, strict=True)]
    assert rest[0] == whole[2]
    assert rest[1][:2] == whole[3]  # and a stand-in


def test_ranks_draw_numbers_of_their_own():
    seeds = [loader.rank_seed(1, 2) for loader in shards(3)]
    assert len(set(seeds)) == 3
    assert seeds == [loader.rank_seed(1, 2) for loader in shards(3)]


def test_invalid_shards_raise():
    loader = DataLoader(range(9), 4)
    with pytest.raises(ValueError, match="expected a rank from 0 to 1, got 2"):
        loader.shard(2, 2)
    with pytest.raises(ValueError, match=r"batch_size >= 5.* got 4"):
        loader.shard(0, 5)


@pytest.mark.parametrize("option", ["shuffle", "drop_last"])
def test_switches_are_booleans(option):
    with pytest.raises(TypeError, match=option):
        DataLoader([1, 2], 2, **{option: "no"})
