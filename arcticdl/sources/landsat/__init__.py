"""Readers of Landsat Collection 2."""
