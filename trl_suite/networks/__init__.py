"""Policies as named components: matched, copied, frozen and stored; knows nothing of physics."""
