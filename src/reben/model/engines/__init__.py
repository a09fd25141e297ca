"""Parts of inference: folding, runtimes other than torch, and which engine is quickest here."""
