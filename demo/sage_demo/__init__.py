"""The demonstration: a simulated Sage, a real Postgres, and one Meltano run from the first into the second."""
