"""Why the models of a run answer as they do."""
