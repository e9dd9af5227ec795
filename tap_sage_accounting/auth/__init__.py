"""Sage's tokens: logging in, renewing, and keeping what works only once."""
