"""What a task is made of: reward terms, sensors, and the arithmetic that both share."""
