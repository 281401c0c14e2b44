"""Contract checks, for the tests of this package and of its users."""
