"""Weights of the PyTorch world for Keras models, one file a family of networks."""
