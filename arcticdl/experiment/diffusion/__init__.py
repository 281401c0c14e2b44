"""Networks that draw ensembles, from a configuration."""
