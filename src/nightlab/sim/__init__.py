"""Nights in memory: the lab's own search for ideas and its judge, on a virtual clock, over worlds whose truth is known.

`world` says what ideas and machines are like, `replay` plays recorded runs, `night` drives `decide` as the loop does,
`policies` are the ways of keeping that are compared, `tally` adds their nights up. No file but the world's own is
read, none is written.
"""
