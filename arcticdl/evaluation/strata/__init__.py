"""Scores of parts: strata of scenes, strata within scenes, and who is served worse."""
