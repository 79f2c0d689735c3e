"""The heavy part: none of these may be imported by listing."""

import numba
import PIL.Image

from lucid import nn
from toy_heavy import engine


def toy_heavy() -> nn.Linear:
    """Build a layer, with everything at hand."""
    assert numba.__version__
    assert PIL.Image.__name__
    return nn.Linear(engine.FEATURES, engine.FEATURES)
