"""The machine image: its recipe, the program that builds it, and how it is booted."""
