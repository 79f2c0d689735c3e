"""Plugin with a slow hook that counts its calls."""

import os
import time

import lucid
from lucid import nn

calls = []


@lucid.hookimpl
def lucid_register_models(register):
    """Register ``toy_slow`` after ``TOY_SLOW_SECONDS`` seconds."""
    calls.append(os.getpid())
    time.sleep(float(os.environ.get("TOY_SLOW_SECONDS", "0")))
    register(
        "toy_slow",
        "toy_slow:toy_slow",
        task="image-classification",
        family="toy",
        total_parameters=6,
        summary="Found late",
        input_shape=(1, 2),
    )


def toy_slow() -> nn.Linear:
    """Build a layer."""
    return nn.Linear(2, 2)
