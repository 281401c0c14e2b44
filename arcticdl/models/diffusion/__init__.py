"""Networks that take noise away step by step, and ensembles drawn by them."""
