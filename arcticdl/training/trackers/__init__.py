"""Trackers of experiments that other people keep: MLflow, Weights & Biases."""
