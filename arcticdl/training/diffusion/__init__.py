"""What a network that takes noise away learns from."""
