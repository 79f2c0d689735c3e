"""Print the number of kernel and BLAS threads of each rank.

mpiexec -n 2 python threads.py
"""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_info

import lucid
from lucid.training import mpi_communicator

if __name__ == "__main__":
    ranks = mpi_communicator()
    np.ones((2, 2)) @ np.ones((2, 2))
    blas = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    counts = ranks.all_gather((lucid.get_num_threads(), max(blas)))
    ranks.on_main(print)(f"threads: {counts}", flush=True)
