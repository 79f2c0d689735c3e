"""The kernels in plain NumPy: slow, short, and what the compiled ones are held against."""
