"""The scripts behind the make targets. They run from the top of the project."""
