"""Values that operator, command line and replica share: they are pure and know nothing else of the project."""
