"""The door for scripts that run one command: [--backend local] [--timeout MINUTES] -- COMMAND. Python 3.10 or later."""

import os
import sys
from pathlib import Path

try:
    from nightlab.cli.main import main
except ImportError:
    here = Path.cwd()
    lab = next((d for d in (here, *here.parents) if (d / "nightlab.toml").exists() or (d / ".git").exists()), here)
    python = lab / ".venv" / "bin" / "python"
    if not python.exists() or Path(sys.prefix).resolve() == python.parents[1].resolve():
        sys.exit(f"error: no nightlab in {sys.executable} or {lab}/.venv\n\nhint: run `uv sync` in {lab}, then again")
    os.execv(python, [str(python), *sys.argv])  # noqa: S606
if __name__ == "__main__":
    words = sys.argv[1:]
    ours = words[: words.index("--") + 2] if "--" in words else words  # what follows is the command's own -h
    sys.exit(main(["exec", "-h"] if "-h" in ours else ["exec", *words]))
