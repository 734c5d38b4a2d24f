"""Stage 5: measure answers, and keep a worse adapter from the owner."""
