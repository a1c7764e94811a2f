"""Responses on disk: what a run has generated is never generated again, nor lost."""
