"""What to try next: knobs and edits of source, what is known of them, and the proposer. Pure throughout."""
