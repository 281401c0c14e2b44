"""Keras layers of which backbones, decoders and heads are made."""
