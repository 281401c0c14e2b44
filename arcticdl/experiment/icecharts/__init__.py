"""Ice charts made by a run: their score, and what a chart is handed on as."""
