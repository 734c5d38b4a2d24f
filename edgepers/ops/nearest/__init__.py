"""Distance from an embedding to the nearest of many."""
