"""Autoencoders: a code between encoder and decoder, which all of an answer is of."""
