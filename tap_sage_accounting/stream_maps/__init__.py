"""What users' stream maps do to records."""
