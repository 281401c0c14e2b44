"""Images in the style of others: of another season, sensor or day."""
