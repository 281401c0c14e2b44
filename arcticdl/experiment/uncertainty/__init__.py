"""What a trained run knows of its own errors."""
