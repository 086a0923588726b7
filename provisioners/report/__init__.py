"""The page that shows a whole stack: a pure function of values, and the resource that keeps the file."""
