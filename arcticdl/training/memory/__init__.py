"""What a training takes of the memory: errors of it, and the batch that fits."""
