"""Kernels in plain NumPy: short and slow, the oracle of the compiled kernels."""
