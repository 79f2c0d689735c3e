"""Kernels compiled by Numba, over channels-last memory and in parallel on a thread pool.

Importing the package imports nothing; importing one of its modules imports Numba.
"""
