"""Scores of whole images, beside those of their pixels."""
