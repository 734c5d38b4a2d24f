"""One owner's folder: all that is on disk."""
