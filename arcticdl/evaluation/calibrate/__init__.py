"""Making answers as sure as they are right: scaled logits, sets that cover."""
