"""The transform: which layers, which noise, bound to which rows (torch)."""
