"""Changes to services: written down, rehearsed on a stage, applied to prod, and taken back.

Each verb is one module here that has `add_arguments` and `run`, as the commands beside this folder have.
"""
