"""What is checked of a card: its page, numbers, model and example."""
