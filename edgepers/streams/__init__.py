"""Streams of dialogue sets: read lazily, resumable at a cursor, never stopped by one bad record."""
