"""Networks that learn to tell two views of one image from those of others."""
