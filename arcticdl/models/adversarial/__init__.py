"""Networks that are judged by another network, which learns to tell them from truth."""
