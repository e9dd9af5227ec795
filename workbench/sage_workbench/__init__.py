"""What tests and scripts share: books, the tap run on them, the tables of targets, and what goes wrong between."""
