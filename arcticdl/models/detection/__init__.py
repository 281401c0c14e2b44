"""Detectors: from a backbone's pyramid to boxes of objects, of any bands."""
