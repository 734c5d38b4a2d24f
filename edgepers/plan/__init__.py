"""What fits, before anything is loaded: memory by part, seconds by a roofline."""
