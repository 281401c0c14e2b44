"""What a run takes of its machine: hardware, versions, and the batch that fits."""
