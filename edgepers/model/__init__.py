"""The one base model: loading, prompts and generation, hidden states, the adapter over it."""
