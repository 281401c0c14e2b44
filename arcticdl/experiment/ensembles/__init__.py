"""Ensembles: members of a fold, their weights, and models joined to one."""
