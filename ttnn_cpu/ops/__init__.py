"""The operations, one file per kind."""
