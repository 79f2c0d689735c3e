"""First prediction of a new process with ONNX Runtime, which loads the network from a file."""

import os
import sys
from pathlib import Path

import numpy as np
import onnxruntime

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
session = onnxruntime.InferenceSession(Path(sys.argv[1]) / "resnet_50.onnx", options)
images = np.random.default_rng().standard_normal((1, 3, 224, 224)).astype(np.float32)
logits = session.run(None, {"images": images})[0]
assert logits.shape == (1, 1000)
