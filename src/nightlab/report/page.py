"""The report as one HTML page: the same text, rendered; nothing of it is markup of its own."""

from __future__ import annotations

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Morning Report</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2rem; border-bottom: 1px solid #8884; padding-bottom: .2rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { border: 1px solid #8886; padding: .25rem .6rem; text-align: left; vertical-align: top; }
code { background: #8882; padding: 0 .25rem; border-radius: .2rem; overflow-wrap: anywhere; }
img { max-width: 100%; }
</style>
</head>
<body>
"""


def page(markdown: str) -> str:
    """One page of its own. HTML in the text is shown as text, and no link leads anywhere but to the chart."""
    from markdown_it import MarkdownIt

    renderer = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["link", "autolink", "reference"])
    return f"{_HEAD}{renderer.render(markdown)}</body>\n</html>\n"
