"""Builder; listing models must not import this module."""

import numba
import PIL.Image

from lucid import nn
from toy_heavy import engine


def toy_heavy() -> nn.Linear:
    """Build a layer."""
    assert numba.__version__
    assert PIL.Image.__name__
    return nn.Linear(engine.FEATURES, engine.FEATURES)
