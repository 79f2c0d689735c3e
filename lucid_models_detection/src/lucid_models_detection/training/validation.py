"""Validation losses and COCO metrics of a detector during training."""

from __future__ import annotations

from collections.abc import Sequence

from tqdm import tqdm

from lucid import random
from lucid.data import DataLoader
from lucid.training import Communicator
from lucid_models_detection.detector import Detector
from lucid_models_detection.evaluation import CocoEvaluator

__all__ = ["Validation"]

#: Seed of region sampling in the losses, so that epochs are comparable.
_SEED = 0


class Validation:
    """Compute mean losses and mean average precision over the validation set.

    ``loader`` has the batches of this rank's shard, in order.  ``notes`` are those of the metrics
    of the last call.
    """

    def __init__(
        self,
        loader: DataLoader,
        class_names: Sequence[str],
        communicator: Communicator | None = None,
    ) -> None:
        self.loader = loader
        self.class_names = class_names
        self.communicator = communicator or Communicator()
        self.notes: tuple[str, ...] = ()

    def close(self) -> None:
        """Stop the worker processes of the loader."""
        self.loader.close()

    def __call__(self, model: Detector) -> dict[str, float]:
        """Return ``val_loss``, its parts, ``mAP`` and ``mAP@0.5``; the random state is restored."""
        before = random.get_state()
        random.seed(_SEED)
        try:
            return self._compute(model)
        finally:
            random.set_state(before)

    def _compute(self, model: Detector) -> dict[str, float]:
        evaluator = CocoEvaluator(self.class_names)
        sums: dict[str, float] = {}
        count = 0
        # disable=None: show the bar on a terminal only.
        for images, targets in tqdm(
            self.loader, "validation", leave=False, unit="batch", disable=None
        ):
            losses, detections = model.losses_and_detections(images, targets)
            for name, loss in losses.items():
                sums[name] = sums.get(name, 0.0) + float(loss.item()) * len(images)
            count += len(images)
            evaluator.update(detections, targets)
        evaluator.merge(self.communicator.all_gather(evaluator.results))
        totals = self.communicator.sum_values({**sums, "": count})
        count = int(totals.pop(""))
        means = {f"val_{name}": total / count for name, total in totals.items()}
        metrics = evaluator.compute()
        self.notes = metrics.notes
        return {
            **means,
            "val_loss": sum(means.values()),
            "mAP": metrics.map,
            "mAP@0.5": metrics.map_50,
        }
