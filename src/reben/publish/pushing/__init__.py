"""What a push is made of: what would change, and the steps to the Hub."""
