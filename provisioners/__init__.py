"""What is done on machines and hosts."""
