"""This backend beside the real ttnn, call by call: what both give for the same inputs, and how far they may differ."""
