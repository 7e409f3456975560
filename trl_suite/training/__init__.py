"""Where a policy learns in a world: the only place in which worlds and networks meet."""
