"""Data-parallel training equals training on one rank: gradients, weights, losses, files."""

from __future__ import annotations

import signal

import numpy as np
import pytest

import lucid
from lucid import nn, optim
from lucid.data import DataLoader, TensorDataset
from lucid.training import Callback, Communicator, RunFolder, Trainer, WeightedLoss, load_checkpoint

# 20 images in batches of 6: the last batch has 2, fewer than 4 ranks.
IMAGES, BATCH = 20, 6


class Net(nn.Module):
    """Convolutions and norms in float64, and an unused layer."""

    def __init__(self, norm):
        super().__init__()
        self.body = nn.Sequential(
            nn.ConvNormAct(1, 4, 3, norm=norm), nn.ConvNormAct(4, 4, 3, norm=norm), nn.Flatten()
        )
        self.head = nn.Linear(64, 3)
        self.idle = nn.Linear(2, 2)
        for tensor in [*self.parameters(), *self.buffers()]:
            if tensor.dtype.kind == "f":
                tensor.data = tensor.numpy().astype(np.float64)

    def forward(self, x):
        return self.head(self.body(x))


def loss(model, batch):
    x, y = batch
    return nn.functional.cross_entropy(model(x), y)


class Record(Callback):
    """Record gradients and losses of every step on every rank."""

    on_every_rank = True

    def __init__(self):
        self.gradients, self.losses = [], []

    def on_step(self, trainer, losses):
        named = trainer.model.named_parameters()
        self.gradients.append({n: p.grad.numpy().copy() for n, p in named if p.grad is not None})
        self.losses.append(dict(losses))


def data(count=IMAGES):
    numbers = np.random.default_rng(0)
    return TensorDataset(numbers.standard_normal((count, 1, 4, 4)), numbers.integers(0, 3, count))


def make_trainer(communicator, *, norm="batch", seed=0, **options):
    """Build a trainer with different initial weights on each rank."""
    model = Net(norm)
    numbers = np.random.default_rng(seed + communicator.rank)
    with lucid.no_grad():
        for parameter in model.parameters():
            parameter.copy_(numbers.standard_normal(parameter.shape) * 0.2)
    chosen = {"epochs": 2, "synchronize_norms": True, "loss": loss, **options}
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    loader = DataLoader(data(), BATCH, shuffle=True, seed=7)
    return Trainer(
        model, optimizer, loader, chosen.pop("loss"), communicator=communicator, **chosen
    )


def trained(communicator, **options):
    record = Record()
    trainer = make_trainer(communicator, callbacks=[record], **options)
    trainer.fit()
    return trainer, record


def assert_same_training(ours, alone):
    (trainer, record), (expected, expected_record) = ours, alone
    for got, wanted in zip(record.gradients, expected_record.gradients, strict=True):
        assert got.keys() == wanted.keys()
        for name in wanted:
            np.testing.assert_allclose(got[name], wanted[name], rtol=1e-8, atol=1e-12, err_msg=name)
    for got, wanted in zip(record.losses, expected_record.losses, strict=True):
        assert got == pytest.approx(wanted, rel=1e-10)
    assert_same_model(trainer.model, expected.model)
    for row, wanted in zip(trainer.history, expected.history, strict=True):
        assert row["loss"] == pytest.approx(wanted["loss"], rel=1e-10)


def assert_same_model(model, expected):
    state = model.state_dict()
    for name, wanted in expected.state_dict().items():
        got = state[name].numpy()
        np.testing.assert_allclose(got, wanted.numpy(), rtol=1e-8, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("norm", ["batch", "frozen", None])
@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_match_a_single_rank(on_ranks, ranks, norm):
    alone = trained(Communicator(), norm=norm)
    for ours in on_ranks(ranks, lambda c: trained(c, norm=norm)):
        assert_same_training(ours, alone)
        assert "idle.weight" not in ours[1].gradients[0]


def test_accumulation_and_clipping_match_a_single_rank(on_ranks):
    options = {"accumulate": 2, "max_grad_norm": 0.5}
    alone = trained(Communicator(), **options)
    for ours in on_ranks(2, lambda c: trained(c, **options)):
        assert_same_training(ours, alone)


WEIGHTS = np.array([0.1, 1.0, 10.0])


def weighted(model, batch):
    """Return a loss with class weights, and one over the samples of class 1."""
    x, y = batch
    logits, labels = model(x), y.numpy()
    mean = nn.functional.cross_entropy(logits, y, weight=lucid.tensor(WEIGHTS))
    chosen = labels == 1
    size = (
        (logits * logits).sum(axis=1)[np.flatnonzero(chosen)].mean()
        if chosen.any()
        else (lucid.tensor(np.nan) * logits.sum())
    )
    return {
        "loss_class": WeightedLoss(mean, WEIGHTS[labels].sum()),
        "loss_size": WeightedLoss(size, float(chosen.sum())),
    }


def test_weighted_losses_match_a_single_rank(on_ranks):
    alone = trained(Communicator(), loss=weighted)
    for ours in on_ranks(2, lambda c: trained(c, loss=weighted)):
        assert_same_training(ours, alone)


def test_uneven_batches_match_a_single_rank(on_ranks):
    """Six images on four ranks are 2, 2, 1 and 1, so the mean of means differs."""

    def shares(communicator):
        trainer = make_trainer(communicator)
        return [trainer.loader.shard_fraction(batch) for batch in range(len(trainer.loader))]

    expected = [[1 / 3, 1 / 3, 1 / 6, 1 / 6]] * 3 + [[1 / 2, 1 / 2, 0, 0]]
    assert np.transpose(on_ranks(4, shares)).tolist() == expected


def test_unsynchronized_running_statistics_are_averaged_at_the_end(on_ranks):
    def work(communicator):
        means = []

        class Look(Callback):
            on_every_rank = True

            def on_step(self, trainer, losses):
                means.append(trainer.model.body[0].norm.running_mean.numpy().copy())

        trainer = make_trainer(communicator, synchronize_norms=False, epochs=1, callbacks=[Look()])
        trainer.fit()
        norm = trainer.model.body[0].norm
        assert norm.process_group is None
        return means, norm.running_mean.numpy().copy(), int(norm.num_batches_tracked.item())

    results = on_ranks(4, work)
    last = [means[-1] for means, _, _ in results]
    assert not np.allclose(last[0], last[1])
    # Ranks 2 and 3 had a placeholder in the last batch, which does not update their norms.
    for means, _, _ in results[2:]:
        np.testing.assert_array_equal(means[-1], means[-2])
    for _, mean, tracked in results:
        np.testing.assert_allclose(mean, np.mean(last, axis=0))
        assert tracked == 4


def test_only_rank_0_writes_files_and_calls_callbacks(on_ranks, tmp_path):
    def validate(model):
        return {"score": float(np.random.default_rng().random())}  # different on every rank

    def work(communicator):
        called = []

        class Scores(Callback):
            def on_epoch(self, trainer, row):
                called.append(row["score"])

        options = {"directory": tmp_path / str(communicator.rank), "callbacks": [Scores()]}
        trainer = make_trainer(communicator, validate=validate, monitor="score", **options)
        trainer.fit()
        return called, trainer.best, [row["score"] for row in trainer.history]

    results = on_ranks(3, work)
    assert [path.name for path in tmp_path.iterdir()] == ["0"]
    assert {p.name for p in (tmp_path / "0").iterdir()} == {
        "best.safetensors",
        "last.safetensors",
        "metrics.csv",
    }
    assert [len(called) for called, _, _ in results] == [2, 0, 0]
    assert all(result[1:] == results[0][1:] for result in results)


@pytest.mark.parametrize(("before", "after"), [(2, 2), (1, 2), (4, 1), (2, 4)])
def test_run_resumes_on_another_number_of_ranks(on_ranks, tmp_path, before, after):
    """A callback of rank 0 stops the run within an epoch."""

    class Stop(Callback):
        def on_step(self, trainer, losses):
            if trainer.step == 5:
                trainer.stop()

    def interrupted(communicator):
        trainer = make_trainer(communicator, directory=tmp_path, callbacks=[Stop()], epochs=3)
        trainer.fit()
        return trainer.step

    def continued(communicator):
        quiet = Callback()
        trainer = make_trainer(
            communicator, directory=tmp_path, callbacks=[quiet], epochs=3, seed=9
        )
        trainer.fit(resume=True)
        return trainer

    def run(count, work):
        return on_ranks(count, work) if count > 1 else [work(Communicator())]

    assert run(before, interrupted) == [5] * before
    whole = make_trainer(Communicator(), epochs=3)
    whole.fit()
    for trainer in run(after, continued):
        assert trainer.step == whole.step == 12
        assert_same_model(trainer.model, whole.model)


def test_ranks_killed_during_validation_do_not_repeat_the_epoch(on_ranks, tmp_path):
    def validate(model):
        return {"score": float(model.body[0].norm.running_mean.numpy().sum())}

    def deadly(model):
        raise RuntimeError("dead")

    def interrupted(communicator):
        trainer = make_trainer(communicator, directory=tmp_path, validate=deadly, **options)
        with pytest.raises(RuntimeError, match="dead"):
            trainer.fit()

    def continued(communicator):
        trainer = make_trainer(communicator, directory=tmp_path, validate=validate, **options)
        trainer.fit(resume=True)
        return trainer

    options = {"synchronize_norms": False, "epochs": 1}
    expected = on_ranks(2, lambda c: trained(c, validate=validate, **options))
    on_ranks(2, interrupted)
    state = load_checkpoint(tmp_path / "last.safetensors")
    assert (state["epoch"], state["step"], state["batch"]) == (0, 4, 4)
    for trainer, (wanted, _) in zip(on_ranks(2, continued), expected, strict=True):
        assert trainer.step == 4
        assert [row["score"] for row in trainer.history] == [wanted.history[0]["score"]]
        assert_same_model(trainer.model, wanted.model)


def test_rank_0_decides_whether_to_resume(on_ranks, tmp_path):
    """Other ranks do not see rank 0's files yet, as on a network file system."""
    (tmp_path / "0").mkdir()

    def work(communicator, epochs):
        folder = RunFolder(tmp_path / str(communicator.rank))
        trainer = make_trainer(communicator, directory=folder.path, epochs=epochs, seed=epochs)
        folder.train(trainer)
        return trainer

    on_ranks(2, lambda c: work(c, 1))
    whole = make_trainer(Communicator(), epochs=2, seed=1)
    whole.fit()
    for trainer in on_ranks(2, lambda c: work(c, 2)):
        assert [row["epoch"] for row in trainer.history] == [1, 2]
        assert_same_model(trainer.model, whole.model)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_to_one_rank_stops_all_after_the_same_step(on_ranks, tmp_path, number):
    def work(communicator):
        class Signal(Callback):
            on_every_rank = True

            def on_step(self, trainer, losses):
                if trainer.step == 3 and communicator.rank == 1:
                    trainer._interrupt.pending = number  # threads receive no signals

        trainer = make_trainer(communicator, directory=tmp_path, callbacks=[Signal()])
        with pytest.raises((KeyboardInterrupt, SystemExit)) as caught:
            trainer.fit()
        return trainer.step, caught.type.__name__, trainer._unfinished

    name = "KeyboardInterrupt" if number == signal.SIGINT else "Terminated"
    assert on_ranks(3, work) == [(3, name, False)] * 3
    assert load_checkpoint(tmp_path / "last.safetensors")["step"] == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_during_all_reduce_is_not_lost(on_ranks, tmp_path, number):
    def work(communicator):
        trainer = make_trainer(communicator, directory=tmp_path)
        agree = trainer._parallel.any_rank

        def agree_slowly(flags):
            agreed = agree(flags)
            if trainer.step == 3 and communicator.rank == 1:
                trainer._interrupt.pending = number
            return agreed

        trainer._parallel.any_rank = agree_slowly
        with pytest.raises((KeyboardInterrupt, SystemExit)) as caught:
            trainer.fit()
        return trainer.step, caught.type.__name__

    name = "KeyboardInterrupt" if number == signal.SIGINT else "Terminated"
    assert on_ranks(3, work) == [(4, name)] * 3
    assert load_checkpoint(tmp_path / "last.safetensors")["step"] == 4


def test_non_finite_loss_on_one_rank_raises_on_all(on_ranks):
    def spoilt(model, batch):
        x, y = batch
        return nn.functional.cross_entropy(model(x), y) * (np.nan if model.rank == 1 else 1.0)

    def work(communicator):
        trainer = make_trainer(communicator, loss=spoilt)
        trainer.model.rank = communicator.rank
        with pytest.raises(FloatingPointError, match="loss is nan at step 1") as caught:
            trainer.fit()
        return str(caught.value)

    first, *others = on_ranks(3, work)
    assert others == [first] * 2


def test_missing_checkpoint_raises_on_all_ranks(on_ranks, tmp_path):
    def work(communicator):
        trainer = make_trainer(communicator, directory=tmp_path)
        with pytest.raises(FileNotFoundError):
            trainer.fit(resume=True)
        return True

    assert on_ranks(2, work) == [True, True]


def test_random_numbers_depend_on_rank_and_step(on_ranks):
    """Run ranks one after another, since threads share the random generator."""

    def draws(rank):
        loader = DataLoader(data(), BATCH, seed=7)
        loader.shard(rank, 2)
        seeds = [loader.rank_seed(epoch, batch) for epoch in (0, 1) for batch in (0, 1)]
        return [float(lucid.random.Generator(seed).rand(1).item()) for seed in seeds]

    drawn = [*draws(0), *draws(1)]
    assert len(set(drawn)) == 8
    assert drawn == [*draws(0), *draws(1)]


def test_ranks_need_a_loader_with_shards(on_ranks):
    def work(communicator):
        model = nn.Linear(1, 1)
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        with pytest.raises(TypeError, match=r"DataLoader for 2 ranks, got list"):
            Trainer(model, optimizer, [1, 2], loss, epochs=1, communicator=communicator)
        return True

    assert on_ranks(2, work) == [True, True]
