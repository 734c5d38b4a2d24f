"""Encryption at rest: the key ring of a state, and what is sealed with it."""
