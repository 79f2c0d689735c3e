"""Ends the program it is imported into."""

import sys

sys.exit("toy-exits wants the whole program to stop")
