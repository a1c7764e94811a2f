"""The report of a comparison: one HTML file, its pictures and its tables."""
