"""One request to Sage and its response."""
