"""Several processes that train or evaluate one stage together: how they meet, and what they tell each other."""
