"""The commands beside the Singer one: login, status, logout."""
