"""Ways to scale logits by name, listed without loading what they need."""

METHODS = {
    "none": "answers as they were trained",
    "temperature": "one factor for all channels",
    "vector": "a factor and a summand for each channel",
}
"""How logits are scaled."""
