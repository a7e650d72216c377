"""Classic control problems stepped in one compiled call: what they share, and the five of them."""
