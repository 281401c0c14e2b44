"""A search over settings: trials on the training part of one fold, judged inside it.

A *study* is the record of a search, kept by Optuna. A *worker* takes one trial after
the other from it, until as many are done as were asked for; several work side by side.
"""
