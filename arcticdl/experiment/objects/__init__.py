"""Experiments that find objects: their networks, and their scenes."""
