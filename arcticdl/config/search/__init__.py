"""The ``search`` section: which settings are tried, and by what they are judged."""
