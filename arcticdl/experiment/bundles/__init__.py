"""Trained models as one folder or file that can check itself."""
