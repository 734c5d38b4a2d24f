"""Forms in which data sets for training are published."""
