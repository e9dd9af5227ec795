"""Where the benchmark puts the JSON schemas."""
