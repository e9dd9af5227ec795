"""HTTP, whichever server it goes to."""
