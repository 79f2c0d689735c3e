"""Stands for gigabytes of somebody's framework."""

FEATURES = 2
