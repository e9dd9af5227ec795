"""The command that looks at an account: each assumption of Sage's API is checked there, with GET requests only."""
