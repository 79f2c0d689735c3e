"""Merging the results of several evaluators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from threaded_ranks import on_ranks

from lucid_models_detection.evaluation import CocoEvaluator

NAMES = ["background", "cat", "dog"]
IMAGES = 7
Entry = dict[str, Any]


@pytest.fixture(scope="module")
def images() -> list[tuple[Entry, Entry]]:
    """Random predictions and targets, with missed objects and false positives."""
    rng = np.random.default_rng(0)

    def boxes(count: int) -> np.ndarray:
        corners = rng.uniform(0, 60, (count, 2))
        return np.hstack([corners, corners + rng.uniform(5, 60, (count, 2))])

    pairs = []
    for number in range(IMAGES):
        truth = boxes(number % 4)
        labels = rng.integers(1, 3, len(truth))
        found = np.vstack([truth + rng.uniform(-2, 2, truth.shape), boxes(2)])
        prediction = {
            "image_id": 100 + number,
            "boxes": found,
            "labels": np.concatenate([labels, [1, 2]]),
            "scores": rng.uniform(0.1, 1, len(found)),
        }
        pairs.append((prediction, {"image_id": 100 + number, "boxes": truth, "labels": labels}))
    return pairs


def evaluated(images: list[tuple[Entry, Entry]]) -> CocoEvaluator:
    evaluator = CocoEvaluator(NAMES)
    for prediction, target in images:
        evaluator.update([prediction], [target])
    return evaluator


@pytest.mark.parametrize("ranks", [2, 3, IMAGES + 2], ids=str)
def test_ranks_evaluate_like_one_process(images: list[tuple[Entry, Entry]], ranks: int) -> None:
    """Two of nine ranks have no image."""

    def work(communicator: Any) -> tuple[int, CocoEvaluator]:
        evaluator = evaluated([images[i] for i in communicator.shard(IMAGES)])
        own = len(evaluator.results)
        evaluator.merge(communicator.all_gather(evaluator.results))
        return own, evaluator

    expected = evaluated(images).compute()
    assert 0.1 < expected.map < 0.9
    assert expected.images == IMAGES
    results = on_ranks(ranks, work)
    assert sum(own for own, _ in results) == IMAGES
    assert (min(own for own, _ in results) == 0) == (ranks > IMAGES)
    # Compare dictionaries, in which nan is None.
    for _, joined in results:
        assert joined.compute().as_dict() == expected.as_dict()


def test_shard_differs_from_the_whole(images: list[tuple[Entry, Entry]]) -> None:
    assert evaluated(images[:4]).compute().as_dict() != evaluated(images).compute().as_dict()


def test_image_in_two_parts_is_rejected(images: list[tuple[Entry, Entry]]) -> None:
    first, second = evaluated(images[:4]), evaluated(images[3:])
    with pytest.raises(ValueError, match="image 103 was evaluated twice"):
        first.merge([first.results, second.results])
    assert len(first.results) == 4
