"""What is measured beside the training: probes of a source on its targets, and what it can still do at home."""
