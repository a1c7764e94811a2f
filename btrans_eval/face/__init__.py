"""What one types in Python: ask a population, compare finished runs, and print what comes out."""
