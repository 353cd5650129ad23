"""The Django client's application; it has no migrations."""
