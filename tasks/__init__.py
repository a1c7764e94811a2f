"""One folder per benchmark: YAML first, a thin utils.py where needed."""
