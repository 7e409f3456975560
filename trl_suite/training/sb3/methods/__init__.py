"""A method on SB3: the transplant before training, callbacks during it, and a freeze that lasts."""
