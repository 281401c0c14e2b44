"""Labels that nobody drew: by thresholds, by the sides of a line, of whole images."""
