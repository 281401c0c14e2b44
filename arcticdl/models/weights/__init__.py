"""Pretrained weights: the table, fetching, loading, and adaptation to any bands."""
