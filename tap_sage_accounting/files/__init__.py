"""Files that are attached to documents: fetched from Sage, checked, and stored where a setting says."""
