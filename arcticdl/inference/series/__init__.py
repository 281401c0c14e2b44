"""What is measured through time, from maps and scenes of several dates."""
