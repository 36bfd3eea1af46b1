"""The clients' names, in the order in which they are told. Every hook loads this, so there is nothing else here."""

NAMES = ("codex", "claude", "gemini", "opencode", "cursor")
