"""Networks that are the average of what a training passed through."""
