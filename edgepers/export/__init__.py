"""Adapters and merged models for other programs."""
