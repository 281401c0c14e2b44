"""From a configured ``data`` section to scenes: tables, files beside files, sources."""
