"""Files as the runner reads and writes them: whole or not at all, never a pipe, never without bound."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path


def write_atomic(path: Path, data: bytes) -> None:
    """Put `data` at `path` so that a reader sees the old file or the new one, also after a power cut.

    Raises:
        OSError: it could not be written; the old file is still there.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with scratch.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except OSError:
        with contextlib.suppress(OSError):
            scratch.unlink()
        raise


def read_small(path: Path, limit: int) -> bytes | None:
    """Bytes of a regular file of at most `limit` bytes; None if there is no such file.

    Raises:
        ValueError: something lies there that is no regular file, cannot be read, or is larger.
    """
    try:
        # O_NONBLOCK: a run could have left a named pipe there, and opening one waits for ever.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise ValueError(f"{path.name} cannot be read: {exc.strerror}") from exc
    with open(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError(f"{path.name} is no regular file")
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"{path.name} is larger than {limit} bytes")
    return data


def remove_tree(directory: Path) -> bool:
    """Delete a directory with everything in it, also what a run has made read-only; links are cut, never followed.

    Returns:
        Whether it is gone.
    """
    if not directory.is_symlink():
        for where, directories, _ in os.walk(directory, topdown=True):
            for name in directories:
                inner = os.path.join(where, name)
                if not os.path.islink(inner):
                    with contextlib.suppress(OSError):
                        os.chmod(inner, 0o700)
        for where, directories, names in os.walk(directory, topdown=False):
            for name in (*names, *directories):
                _remove(os.path.join(where, name))
    _remove(str(directory))
    return not os.path.lexists(directory)


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        if os.path.islink(path) or not os.path.isdir(path):
            os.unlink(path)
        else:
            os.rmdir(path)
