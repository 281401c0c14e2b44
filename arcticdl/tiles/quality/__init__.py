"""Quality of a store: measures, findings, pages and the data set card."""
