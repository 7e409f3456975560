"""A file for each learning algorithm: its descriptor, data alone. What differs between them is asked here."""
