"""What a run costs: seconds, bytes and joules."""
