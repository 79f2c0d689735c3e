"""``python -m lucid.cli``: the command line without its script."""

from __future__ import annotations

import sys

from lucid.cli import main

sys.exit(main())
