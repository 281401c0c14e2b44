"""What a training says of itself: curves, gradients, rates, speed."""
