"""Losses of detectors: truth is matched with places, then classes and boxes score."""
