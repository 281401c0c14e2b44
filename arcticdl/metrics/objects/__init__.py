"""Scores of detected objects, upright or turned: matched, counted, with intervals."""
