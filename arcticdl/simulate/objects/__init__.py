"""Scenes of objects whose outlines are known: icebergs at sea, floes that touch."""
