"""Dask exists in the ``dask`` session only; elsewhere nothing here is collected.

That is not a skip: what is not Dask's is tested in ``tests/core/prediction``.
"""

from __future__ import annotations

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("distributed") else ["test_*.py"]
