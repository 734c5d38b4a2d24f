"""Benchmarks: run as modules, each writes one JSON line a case into benchmarks/results/."""
