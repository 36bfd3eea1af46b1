"""Amounts on the command line: words into numbers, with an error that names what is wrong."""

from __future__ import annotations

import argparse


def count_of(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return value


def hours(text: str) -> float:
    return _below(10_000, text, "hours")


def minutes(text: str) -> float:
    return _below(100_000, text, "minutes")


def money(text: str) -> float:
    return _below(1e9, text, "money")


def _below(end: float, text: str, unit: str) -> float:
    value = float(text)
    if not 0 < value < end:
        raise argparse.ArgumentTypeError(f"{text} is no number of {unit}")
    return value
