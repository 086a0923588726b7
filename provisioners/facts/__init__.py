"""What a machine says about itself: each module has read-only commands and pure functions over what they print."""
