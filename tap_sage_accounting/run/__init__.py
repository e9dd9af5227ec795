"""One run of the tap: what it goes on from, its signals, its lifecycle."""
