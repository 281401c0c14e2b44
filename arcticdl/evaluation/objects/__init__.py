"""Detectors scored on whole scenes: precision, false alarms, counts, worst misses."""
