"""How agents talk to the lab: one service of typed calls; hooks, MCP, models and the policy are thin on it."""
