"""Where runs are made: processes of this machine, a Ray cluster, Slurm."""
