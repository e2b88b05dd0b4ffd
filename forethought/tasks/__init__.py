"""Tasks: costs, ends of episodes and tests of success, for real systems and their models alike."""
