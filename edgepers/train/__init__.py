"""Stage 4: fine-tune a LoRA adapter over the 4-bit base model."""
