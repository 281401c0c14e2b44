"""Commands about tile stores as they are kept and grow."""
