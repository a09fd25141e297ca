"""What a card is made of: facts, tables, figures, front matter."""
