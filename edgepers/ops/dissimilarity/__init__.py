"""Mean distance from an embedding to the buffered ones of its domain: from those, or from their sum."""
