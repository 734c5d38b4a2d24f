"""Stage 3: variations of annotated sets, written by the model and checked by ROUGE-1."""
