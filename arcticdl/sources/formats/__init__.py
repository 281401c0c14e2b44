"""Readers of general formats: any scene may come in them."""
