"""A benchmark of the finance models: how long books of different sizes take to build, and what that costs."""
