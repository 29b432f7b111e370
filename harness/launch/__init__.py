"""Runs a graph of stages: in local processes, or as jobs of a Slurm cluster. Only this room knows Slurm."""
