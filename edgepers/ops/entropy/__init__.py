"""Entropy of embedding: how varied the hidden states of a set are."""
