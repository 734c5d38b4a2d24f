"""Stage 2: ask the owner, or stand in for the owner, about the responses that were kept."""
