"""What a person reads: the summary of a lab, the morning report, the progress chart, the screens of the terminal.

`summary` and `morning` are pure; `text` makes other people's words safe, `words` puts numbers into words.
"""
