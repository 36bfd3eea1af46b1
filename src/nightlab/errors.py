"""Every error a user can meet: what happened, where, and what to do next.

NightlabError
├── ConfigError          nightlab.toml or the environment says something we cannot use
├── LabError             the directory is not (or no longer) a usable lab
│   ├── NoRepositoryError
│   ├── DirtyTreeError
│   └── ShadowError      a module would hide one of Python's own
├── GitError             a git command failed
├── LedgerError
│   ├── AlreadyRecordedError   what has happened cannot happen again
│   └── LedgerUnreadableError
│       └── LedgerDamagedError     pages of the file are broken, or it is no database at all
├── MetricError          a number that cannot be a metric
├── EditError            an edit does not apply to this source
├── BusyError            somebody else holds the lease
├── NotFoundError        no such run, experiment or file
├── BackendError         a run could not be started
└── UsageError           the command line asks for something impossible (exit code 2)
"""

from __future__ import annotations


class NightlabError(Exception):
    """Base of the tree.

    Args:
        message: what happened and where, one sentence without a final full stop.
        hint: what to do next; shown after a blank line.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        message = str(self.args[0])
        return f"{message}\nhint: {self.hint}" if self.hint else message


class ConfigError(NightlabError):
    pass


class LabError(NightlabError):
    pass


class NoRepositoryError(LabError):
    pass


class DirtyTreeError(LabError):
    pass


class ShadowError(LabError):
    pass


class GitError(NightlabError):
    pass


class LedgerError(NightlabError):
    pass


class AlreadyRecordedError(LedgerError):
    exit_code = 2  # at the command line: an idea that the lab has had


class LedgerUnreadableError(LedgerError):
    pass


class LedgerDamagedError(LedgerUnreadableError):
    pass


class MetricError(NightlabError):
    pass


class EditError(NightlabError):
    pass


class BusyError(NightlabError):
    pass


class NotFoundError(NightlabError):
    pass


class BackendError(NightlabError):
    pass


class UsageError(NightlabError):
    exit_code = 2
