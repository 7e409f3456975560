"""What keeps this repository and is not shipped."""
