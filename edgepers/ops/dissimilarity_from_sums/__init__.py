"""In-domain dissimilarity from per-domain sums, without the embeddings."""
