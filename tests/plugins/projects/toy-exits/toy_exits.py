"""Plugin module that exits at import."""

import sys

sys.exit("toy-exits wants the whole program to stop")
