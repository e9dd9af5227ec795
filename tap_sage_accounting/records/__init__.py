"""From what Sage sends to what the schema says."""
