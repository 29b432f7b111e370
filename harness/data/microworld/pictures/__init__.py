"""The picture sheets that scenes are drawn from, and the script that packed them."""
