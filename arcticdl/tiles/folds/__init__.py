"""Folds that cannot leak: splitters, what lies too near, and the audit."""
