"""One model over several machines: each has some of its layers, and hands what it computed to the next."""
