"""Files of an earlier Lucid exist in the ``compat`` session only; elsewhere nothing is collected.

That is not a skip: ``nox -s compat`` writes them with the earlier version's own code.
"""

from __future__ import annotations

import os

collect_ignore_glob = [] if "LUCID_COMPAT_FILES" in os.environ else ["test_*.py"]
