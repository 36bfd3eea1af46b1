"""The door for people and scripts that know `python -m research`."""
