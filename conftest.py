"""Options and fixtures shared by tests/ and demo/."""
