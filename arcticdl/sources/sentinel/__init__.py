"""Readers of the Copernicus Sentinels."""
