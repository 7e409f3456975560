"""An experiment's results: its conditions compared with scratch, over targets, and what is said of them."""
