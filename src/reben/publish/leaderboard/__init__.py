"""Models ranked: Markdown, CSV, HTML, a picture."""
