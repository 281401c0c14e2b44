"""What helps to write a configuration: its keys, its schema, and a template."""
