"""Runs against each other, scene by scene: differences, intervals, tests, pictures."""
