"""A store read in another way: as sequences of dates, or with pixels of scenes."""
