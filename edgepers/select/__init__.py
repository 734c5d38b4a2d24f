"""Stage 1: score dialogue sets, decide, and keep them inside a budget of bytes."""
