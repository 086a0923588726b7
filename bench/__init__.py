"""Figures, each a ratio within one run: what Understudy does against the best that a person could do by hand."""
