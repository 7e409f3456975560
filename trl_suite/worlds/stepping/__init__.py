"""One env or many, stepped on the host: physics, tasks, perturbations and random states."""
