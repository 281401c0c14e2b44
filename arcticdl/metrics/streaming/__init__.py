"""Streaming Keras metrics: their state is additive, and void pixels never count."""
