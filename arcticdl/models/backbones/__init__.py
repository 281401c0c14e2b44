"""Backbones: networks from an image to a pyramid of features, one file a family."""
