"""What stands beside an exported network, for people and catalogues."""
