"""Methods that any network must leave behind, scored on the very same pixels."""
