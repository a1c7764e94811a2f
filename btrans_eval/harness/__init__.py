"""The one room that touches the internals of lm_eval."""
