"""Scenes that a generator makes of label maps: what it sees, and what it writes."""
