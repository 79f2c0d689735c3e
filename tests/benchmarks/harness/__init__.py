"""Benchmark harness: run engines in turns and report their times."""
