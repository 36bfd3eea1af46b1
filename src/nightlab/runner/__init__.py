"""Makes a run happen: workspace, supervisor, limit, outcome. One file for each backend.

A run is ordered (`order`), started by a backend (`local`, `fake`), tended by a supervisor process (`supervisor`, with
`tend`, `guard`, `tree` below it) and judged by what it left behind (`result`). Nothing here knows the ledger.
"""
