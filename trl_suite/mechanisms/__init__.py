"""Transfer methods: one room for each mechanism that a method is made of, and the methods themselves as data."""
