"""The pure core: values in, values out. Nothing here reads, writes, connects or knows Pulumi."""
