"""What is done with several folds or runs at once."""
