"""Run the command line as ``python -m lucid.cli``."""

from __future__ import annotations

import sys

from lucid.cli import main

sys.exit(main())
