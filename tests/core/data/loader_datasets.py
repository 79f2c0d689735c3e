"""Datasets that worker processes can import."""

from __future__ import annotations

import os
import random
import signal
import time

import numpy as np

import lucid
from lucid.data import Dataset


class Noisy(Dataset):
    """Sample i: its number, and random numbers of its own."""

    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return {"index": index, "noise": lucid.random.randn(3)}


class Big(Dataset):
    """Samples far larger than the buffer of a pipe."""

    def __len__(self):
        return 12

    def __getitem__(self, index):
        return np.full(2**18, index, np.float32)


class Elsewhere(Dataset):
    """Numbers from the generators of Python and NumPy, and who drew them."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return os.getpid(), random.random(), np.random.random()  # noqa: NPY002


class PickyError(Exception):
    """Cannot be unpickled: its constructor takes two arguments, its args are one."""

    def __init__(self, what, why):
        super().__init__(f"{what}: {why}")


class Failing(Dataset):
    """Run a given function for sample 3."""

    def __init__(self, how, asleep=None):
        self.how = how
        self.asleep = asleep

    def __len__(self):
        return 8

    def __getitem__(self, index):
        if index == 3:
            if self.how == "raise":
                raise KeyError("no such sample")
            if self.how == "picky":
                raise PickyError("sample", "no good")
            if self.how == "exit":
                raise SystemExit(3)
            if self.how == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.how == "lambda":
                return lambda: None
            if self.how == "leave":
                os._exit(7)
            if self.how == "sleep through SIGTERM":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if self.how.startswith("sleep"):
                if self.asleep is not None:
                    self.asleep.touch()
                time.sleep(60)
        return index


class Unloadable(Dataset):
    """Can be pickled but not unpickled."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return index

    def __setstate__(self, state):
        raise FileNotFoundError("the images are gone")

    def __getstate__(self):
        return {"some": "state"}


def as_list(samples):
    return list(samples)
