"""What downloading is made of: the server of a record."""
