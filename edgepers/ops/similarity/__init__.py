"""How alike stored embeddings are: exact products of int8 rows."""
