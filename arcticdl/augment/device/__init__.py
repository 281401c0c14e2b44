"""Policies on the device: one Keras layer, compiled with ``keras.ops``."""
