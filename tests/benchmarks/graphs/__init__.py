"""The networks as ONNX graphs, for ONNX Runtime."""
