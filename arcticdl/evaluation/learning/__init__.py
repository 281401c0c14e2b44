"""How scores grow with scenes and with networks: fits, verdicts, pictures."""
