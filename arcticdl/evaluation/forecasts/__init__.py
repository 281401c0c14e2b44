"""Forecasts of a network beside those that need none: made, scored, written, drawn."""
