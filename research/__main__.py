"""`python -m research`: summary, archive, next, parse-run, last-review. Any Python from 3.10 on."""

import os
import sys
from pathlib import Path

try:
    from nightlab.cli.main import main
except ImportError:
    here = Path.cwd()
    places = [d for d in (here, *here.parents) if (d / ".venv" / "bin" / "python").exists()]
    python = places[0] / ".venv" / "bin" / "python" if places else None
    if python is None or Path(sys.prefix).resolve() == python.parents[1].resolve():
        how = f"run `uv sync` where your pyproject.toml lies, or `pip install {Path(__file__).resolve().parents[1]}`"
        sys.exit(f"error: no nightlab in {sys.executable}, nor in a .venv of {here} or above\n\nhint: {how}")
    os.execv(python, [str(python), *sys.argv])  # noqa: S606
if __name__ == "__main__":
    sys.exit(main(["research", *sys.argv[1:]]))
