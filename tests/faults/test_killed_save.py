"""A process killed during a save leaves the old or the new file, intact."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

import lucid

SAVE_FOREVER = textwrap.dedent("""
    import sys
    import numpy as np
    import lucid

    path = sys.argv[1]
    for generation in range(1_000_000):
        lucid.save({"w": np.full(2**19, generation, np.int64)}, path)  # 4 MiB
        if generation == 0:
            print("saving", flush=True)
""")


@pytest.mark.parametrize("filename", ["w.safetensors", "w.npz"])
def test_killed_save_leaves_an_intact_file(tmp_path, filename):
    path = tmp_path / filename
    moments = random.Random(0)
    left_behind = 0
    for attempt in range(40):
        child = subprocess.Popen(
            [sys.executable, "-c", SAVE_FOREVER, str(path)], stdout=subprocess.PIPE, text=True
        )
        try:
            assert child.stdout.readline() == "saving\n"
            time.sleep(moments.uniform(0, 0.05))
        finally:
            child.send_signal(signal.SIGKILL)
            child.communicate()
        left_behind += len(os.listdir(tmp_path)) - 1
        values = np.unique(lucid.load(path)["w"].numpy())
        assert len(values) == 1  # of one generation
        if left_behind and attempt >= 4:
            break
    assert left_behind > 0  # at least one kill hit a save
    lucid.save({"w": np.zeros(1)}, path)
    assert os.listdir(tmp_path) == [filename]
