"""What every command line has: which lab is meant."""

from __future__ import annotations

import argparse
from pathlib import Path

from nightlab.config import Settings, load_settings
from nightlab.root import find_root


def add_lab_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lab", type=Path, default=Path(), metavar="DIR", help="the lab (default: here)")


def settings_of(directory: Path) -> Settings:
    """Settings of the lab that `directory` lies in."""
    return load_settings(find_root(directory))
