"""Files of boxes and outlines of objects, read for one scene at a time."""
