"""What a coding agent's client must find in a lab to work there: written, taken out again, and checked."""
