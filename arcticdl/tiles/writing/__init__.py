"""The steps of writing a store: looking through scenes, choosing tiles, records."""
