"""What a person sees of a command: its errors, its log, and what it writes where."""
