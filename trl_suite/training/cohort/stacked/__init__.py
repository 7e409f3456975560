"""Networks of all members as stacked tensors: their layout, forward and backward passes, Adam, graphs, noise."""
