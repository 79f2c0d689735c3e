"""The kernels compiled by Numba: ranges of work over channels-last memory, run by the pool.

Importing this package imports nothing; importing one of its modules imports Numba.
"""
