"""nightlab: experiments on one file, one metric, one fixed budget, all night. Start reading in `types.py`."""

__version__ = "0.1.0"
