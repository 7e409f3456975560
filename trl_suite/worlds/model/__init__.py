"""From a model's file or family, and a variation, to a compiled MuJoCo model in which everything has a name."""
