"""How a run finds its device and leaves it, and whether its value can be believed.

Looked at is only what the run does not do itself: a fixed probe before it starts and after it has ended, the clock,
and what others use. A candidate's own steps a second are part of its effect and say nothing of the machine.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from nightlab.runner import cpu, nvidia
from nightlab.runner.files import read_small
from nightlab.runner.order import Order
from nightlab.types import Conditions, Crashed, Finished, Outcome, Reading, StoppedEarly, TimedOut

SLOWDOWN = 1 / 3
"""Share of the probe's speed, lost or won during a run, from which the run is not believed.

A cold card that comes to its power cap loses up to 15 %, one that is shared with another process 50 % or more; this
lies between. Below it the judge corrects by the mean of both readings; above, nobody knows for how much of the run
which of the two held, and half of the logarithm of 1.5 is 0.2: at 0.059 bits per byte (statistics.md, 2b) 24 times the
noise of a run."""

CROWDED = 0.1  # share of all cores that others may use of a full CPU: a machine's own services stay below
HELD = 0.1  # share of a GPU's memory that others may hold before an out-of-memory is no longer the idea's fault

_RECEIPT_LIMIT = 1 << 20  # bytes
_TIMED_KINDS: Mapping[object, bool] = {"wall": True, "compute": False}  # of budgets, as receipts call them

Probe = Callable[[], float | None]
"""The lab's own probe command: its number, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was seen of a device around one run, before any judgement."""

    before: Reading
    after: Reading
    crowded: str = ""  # by whom it was used beside the run, in words
    slowed: str = ""  # why its clocks were low after the run
    held: float | None = None  # share of its memory that others held, before or after


class Watch(Protocol):
    """One device, watched around one run. The calls come in this order, each once."""

    def before(self) -> None:
        """Right before the command starts; nothing of it lasts beyond the call."""
        ...

    def ended(self, own_s: float) -> None:
        """Right after nothing of the command is left; `own_s` are the CPU seconds that it used."""
        ...

    def seen(self, *, probing: bool) -> Seen:
        """All of it; `probing` says whether the value needs the speed after the run."""
        ...


def watch(order: Order, probe: Probe) -> Watch | None:
    """Whoever watches the order's device; None where the order asks for nobody."""
    if order.inspection is None:
        return None
    mine = probe if order.inspection.probe and order.inspection.timed is not False else None
    if is_gpu(order):
        return _GpuWatch(gpu_key(order), mine or (lambda: None))
    return _CpuWatch(order.inspection.neighbours, mine or cpu.speed)


def is_gpu(order: Order) -> bool:
    return order.run.environment.device.startswith("cuda")


def gpu_key(order: Order) -> str:
    """The GPU that the command sees, as nvidia-smi takes it: an index or a UUID."""
    visible = order.env.get("CUDA_VISIBLE_DEVICES", os.environ.get("CUDA_VISIBLE_DEVICES", ""))
    return visible.split(",")[0].strip() or order.run.environment.device.partition(":")[2] or "0"


class _CpuWatch:
    def __init__(self, neighbours: int, speed: Probe) -> None:
        self._neighbours, self._speed = neighbours, speed
        self._before = Reading()
        self._ticks: cpu.Ticks | None = None
        self._shares: cpu.Shares | None = None

    def before(self) -> None:
        self._before = Reading(speed=self._speed(), clock_mhz=cpu.clock_mhz())
        self._ticks = cpu.ticks()

    def ended(self, own_s: float) -> None:
        self._shares = cpu.shares(self._ticks, cpu.ticks(), own_s=own_s, neighbours=self._neighbours)

    def seen(self, *, probing: bool) -> Seen:
        speed = self._speed() if probing else None
        shares = self._shares
        after = Reading(speed=speed, clock_mhz=cpu.clock_mhz(), busy=round(shares.others, 3) if shares else None)
        is_crowded = shares is not None and shares.all >= cpu.FULL and shares.others > CROWDED
        return Seen(before=self._before, after=after, crowded="others used the CPU, and no core was free"
                    if is_crowded else "")  # fmt: skip


class _GpuWatch:
    def __init__(self, key: str, probe: Probe) -> None:
        self._key, self._probe = key, probe
        self._looks: list[nvidia.Gpu] = []
        self._before = Reading()

    def before(self) -> None:
        found = self._look()
        speed = self._probe()
        warm = nvidia.ask(self._key) if speed is not None else found  # an idle card's clock says nothing
        self._before = Reading(
            speed=speed, clock_mhz=warm.clock_mhz if warm else None, busy=found.busy if found else None
        )

    def ended(self, own_s: float) -> None:
        self._looks.append(self._look() or nvidia.Gpu())

    def seen(self, *, probing: bool) -> Seen:
        last = self._looks[-1]
        held = [look.held for look in self._looks if look.held is not None]
        return Seen(
            before=self._before,
            after=Reading(speed=self._probe() if probing else None, clock_mhz=last.clock_mhz, busy=last.busy),
            crowded="others used the GPU" if any(look.is_taken for look in self._looks) else "",
            slowed=f"the GPU was {last.slowed}" if last.slowed else "",
            held=max(held, default=None),
        )

    def _look(self) -> nvidia.Gpu | None:
        found = nvidia.look(self._key)
        if found is not None:
            self._looks.append(found)
        return found


# --- whether a value is believed --------------------------------------------------------------------------------


def depends_on_speed(order: Order) -> bool | None:
    """Whether the run's value would be another one on a faster device; None: nobody says.

    The lab's settings have the first word, the receipt's budget the second. Without either a GPU lab is taken for one
    with a budget in seconds, as upstream's is: to run again what was fine costs a run, to believe what was not costs
    the night. A CPU lab is not, since many count their work, and a shared CPU is the rule rather than the exception.
    """
    assert order.inspection is not None
    if order.inspection.timed is not None:
        return order.inspection.timed
    if (timed := _TIMED_KINDS.get(_budget_kind(order))) is not None:
        return timed
    return True if is_gpu(order) else None


def _budget_kind(order: Order) -> str:
    try:
        receipt = json.loads(read_small(order.files.receipt, _RECEIPT_LIMIT) or b"{}")
        kind = receipt["budget"]["kind"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return ""
    return kind if isinstance(kind, str) else ""


def _is_crowded(seen: Seen) -> str:
    return seen.crowded


def _is_slowed(seen: Seen) -> str:
    return seen.slowed


def _has_changed(seen: Seen) -> str:
    before, after = seen.before.speed, seen.after.speed
    if before is None or after is None or not min(before, after) > 0:
        return ""
    if after < (1 - SLOWDOWN) * before:
        return "the device was much slower after the run than before it"
    return "the device was much slower before the run than after it" if before < (1 - SLOWDOWN) * after else ""


RULES: tuple[Callable[[Seen], str], ...] = (_is_crowded, _is_slowed, _has_changed)
"""What makes a value that depends on speed worth nothing, the first that holds; each says so in words, or "".

The words hold no numbers, so that the same trouble is the same text in every run; the readings have the numbers."""


PACE = ("no progress", "too slow")  # signatures of what `follow` ends for its pace


def conclude(seen: Seen, outcome: Outcome, *, timed: bool | None) -> Conditions:
    """The run's conditions, and in them why its ending is not believed, if so.

    Args:
        seen: of its device.
        outcome: how it ended.
        timed: whether its value depends on speed. What does not is never doubted, and what nobody knows neither.
    """
    trouble = ""
    # What was ended for its pace depends on speed, whatever the budget counts.
    by_pace = isinstance(outcome, Crashed) and outcome.signature in PACE
    by_curve = isinstance(outcome, StoppedEarly) and outcome.fraction is not None
    if by_pace or (timed and (by_curve or isinstance(outcome, Finished | TimedOut))):
        trouble = next((words for rule in RULES if (words := rule(seen))), "")
    elif isinstance(outcome, Crashed) and outcome.signature == "out of memory" and (seen.held or 0.0) > HELD:
        trouble = "others held memory of the GPU, and the run was short of it"
    return Conditions(before=seen.before, after=seen.after, timed=timed, trouble=trouble)
