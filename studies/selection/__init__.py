"""Which facts of an owner come to be asked about, by what is kept and by who is asked."""
