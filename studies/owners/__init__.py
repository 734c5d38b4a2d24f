"""Invented owners, each with facts to be learned, and questions that must stay as they were."""
