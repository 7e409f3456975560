"""Parts of a task: reward terms, sensors, and the arithmetic that both share."""
