"""The log of evidence: what was rehearsed, let through, and went on without a rehearsal, signed.

`evidence/STACK.jsonl` is in Git, one record a line, each with the digest of the one before it.
"""
