"""Generators of this repository's pages; not shipped in the wheel."""
