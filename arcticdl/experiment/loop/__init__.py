"""The labelling loop of an experiment: from runs and files to what people look at."""
