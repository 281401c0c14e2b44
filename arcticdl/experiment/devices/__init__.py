"""Folds that several devices or processes train together."""
