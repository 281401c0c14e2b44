"""Forecasts of a run: made, scored beside the baselines, written."""
