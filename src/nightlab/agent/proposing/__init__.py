"""Ideas from outside: models behind an endpoint, agents behind a command, and the bandit that shares a night out."""
