"""The surface of the older discovery control plane: every key and label of it is in this room and nowhere else.

A rendering layer over our nouns: nothing is decided here. Pure.
"""
