"""Objects in whole scenes: found window by window, merged, written as vectors."""
