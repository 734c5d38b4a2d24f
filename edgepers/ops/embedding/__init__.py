"""The embedding of a set: the direction of its mean hidden state."""
