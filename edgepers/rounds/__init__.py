"""One round: what it trains on, its training, its verdict, and when it is due."""
