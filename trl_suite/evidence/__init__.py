"""From run folders to numbers that can be believed, and the pages that show them; needs no torch and no MuJoCo."""
