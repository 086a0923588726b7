"""A place that creates nothing, so that a hundred machines cost what our program costs; and Pulumi's engine alone."""
