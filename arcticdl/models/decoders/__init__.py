"""Decoders: from a pyramid of features back to one map, one file a family."""
