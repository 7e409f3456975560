"""Tuning: hyperparameters of scratch and of each method by the same number of trials, on seeds of their own."""
