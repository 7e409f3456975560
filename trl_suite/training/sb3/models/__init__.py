"""SB3's models: made, read as named components, their layers exchanged, their optimisers grouped by component."""
