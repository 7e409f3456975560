"""Vector pictures of results; the only room of evidence that imports matplotlib."""
