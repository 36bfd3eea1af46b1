"""What coding agents' hooks ask of the lab: one neutral event in, one neutral answer out.

A hook is a process start: what most events do not need (numpy, msgspec, the ledger) is imported where it is used.
"""
