"""The axes of variation: their values, and how each edits a model, a task or a robot's shape."""
