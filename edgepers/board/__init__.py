"""The board that edgepers runs on: what it says of itself, and what is known of the three it is made for. No torch."""
