"""One run of the tap: its signals, its lifecycle."""
