"""What a result means: noise, race, verdicts, decision packets. Pure: no clock, files, processes or randomness.

`model` holds the statistics, `race` the decisions, `packets` the advice in words. Values arrive as losses (lower is
better): the direction and the scale of a lab's metric never enter here. Import the module you need; this file stays
empty so that `packets` does not load numpy.
"""
