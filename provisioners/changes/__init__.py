"""Changes to services on machines: the steps of one, how they are run, and how they are taken back."""
