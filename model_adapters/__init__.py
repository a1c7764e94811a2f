"""One file per engine: how lm_eval's model types generate with a population."""
