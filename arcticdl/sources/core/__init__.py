"""What several readers share: lazy windows, validity, places, conventions."""
