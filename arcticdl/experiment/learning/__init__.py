"""Learning curves: which runs they are made of, and what a step of each costs."""
