"""Maps in which gaps are filled, and nothing else is changed."""
