"""The ROUGE-1 study: whether selecting and synthesizing pays, on an 8 M-parameter model."""

from pathlib import Path

__all__ = ["RESULTS"]

RESULTS = Path(__file__).parent / "results"
