"""What the literature says, judged by what a sweep measured."""
