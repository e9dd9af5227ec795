"""A simulated Sage: books that add up, served over HTTP with the API's quirks. It shares no code with the tap."""
