"""Entropy and embedding of a set together."""
