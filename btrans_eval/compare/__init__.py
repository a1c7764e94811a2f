"""Arms side by side: the same questions, paired, with intervals and tests."""
