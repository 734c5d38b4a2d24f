"""A state, told: as a record, as text, as pictures."""
