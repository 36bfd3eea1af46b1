"""What a constant is by its name: the kind that decides how it moves, and the family its ideas belong to.

One table of data, read from the top, first hit wins. Nothing here knows a particular train.py: the names are the ones
people use. `benchmarks/knob_priors.py` sorts the public histories with the same table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Scale(StrEnum):
    """How far two values of a knob are apart."""

    LOG = "log"  # by their ratio
    FRACTION = "fraction"  # by their ratio, within [0, 1]
    COMPLEMENT = "complement"  # by the ratio of their distances to one: 0.9 -> 0.95 halves it


@dataclass(frozen=True, slots=True)
class Kind:
    """One row: names that match `pattern` (against the upper-case name between underscores) are of this kind."""

    name: str
    family: str
    pattern: str
    scale: Scale = Scale.LOG
    off: bool = False  # whether zero means "not used", so that zero is a sensible value
    enable: tuple[float, ...] = (0.1, 0.01)  # first values to try where it stands at zero


LOG, FRACTION, COMPLEMENT = Scale.LOG, Scale.FRACTION, Scale.COMPLEMENT

KINDS: tuple[Kind, ...] = (
    Kind("warmup", "schedule", r"_WARM_?UP", FRACTION, off=True, enable=(0.05, 0.02, 0.1)),
    Kind("warmdown", "schedule", r"_(WARM_?DOWN|COOL_?DOWN|DECAY_(RATIO|FRAC|STEPS|START))", FRACTION, off=True),
    Kind(
        "final-lr",
        "schedule",
        r"_(FINAL_LR|LR_MIN|MIN_LR|END_LR|LR_(FINAL|END|FLOOR))",
        FRACTION,
        off=True,
        enable=(0.05, 0.1, 0.01),
    ),
    Kind("weight-decay", "regularization", r"_(WEIGHT_DECAY|WD|L2)_", off=True, enable=(0.1, 0.01)),
    Kind("unembedding-lr", "learning-rate", r"_(UNEMBED\w*|LM_?HEAD|HEAD|OUTPUT)_LR"),
    Kind("embedding-lr", "learning-rate", r"_(EMBED\w*|WTE|TOKEN)_LR"),
    Kind("matrix-lr", "learning-rate", r"_(MATRIX|MUON|HIDDEN|WEIGHT)_LR"),
    Kind("scalar-lr", "learning-rate", r"_(SCALAR|VECTOR|BIAS|GAIN|LAMBDA|RESID)_LR"),
    Kind("lr", "learning-rate", r"_(LR|LEARNING_RATE|STEP_SIZE)_"),
    Kind("beta2", "optimizer", r"_BETAS?_?2_|_BETAS\[1\]", COMPLEMENT),
    Kind("beta1", "optimizer", r"_BETAS?_?1_|_BETAS\[0\]|_BETA_", COMPLEMENT, off=True),
    Kind("momentum", "optimizer", r"_(MOMENTUM|EMA|AVERAGING|SMOOTH_?DECAY|DECAY_RATE)_", COMPLEMENT, off=True),
    Kind("eps", "optimizer", r"_(EPS|EPSILON)_"),
    Kind("grad-clip", "optimizer", r"_(CLIP|GRAD_?CLIP|MAX_NORM|GRAD_NORM)_", off=True, enable=(1.0, 0.5)),
    Kind("orthogonalise", "optimizer", r"_(NS_STEPS|MUON_STEPS|NEWTON|POLAR|ORTHO)"),
    Kind("device-batch", "batch-size", r"_(DEVICE|MICRO|PER_DEVICE|LOCAL|MINI)_?BATCH"),
    Kind("accumulation", "batch-size", r"_(ACCUM\w*)_"),
    Kind("batch", "batch-size", r"_(BATCH\w*|BSZ|TOKENS_PER_STEP|ROWS)_"),
    Kind("sequence", "batch-size", r"_(SEQ\w*|CONTEXT\w*|BLOCK_SIZE|CTX\w*)_"),
    Kind("depth", "model-size", r"_(DEPTH|N_?LAYERS?|NUM_LAYERS?|LAYERS|BLOCKS)_"),
    Kind("heads", "attention", r"_(HEAD_DIM|HEAD_SIZE|N_?HEADS?|NUM_HEADS?|N_?KV_?HEADS?|KV_HEADS|HEADS)_"),
    Kind("mlp", "model-size", r"_(MLP|FFN|FF|EXPANSION)_"),
    Kind(
        "width",
        "model-size",
        r"_(WIDTH|DIM|D_?MODEL|N_?EMBD|EMBD|HIDDEN|ASPECT_RATIO|CHANNELS|UNITS|HIDDEN_(SIZE|DIM))_",
    ),
    Kind("window", "attention", r"_(WINDOW\w*)_"),
    Kind("rope", "attention", r"_(ROPE|ROTARY)"),
    Kind("softcap", "numerics", r"_(SOFT_?CAP|LOGIT_CAP|CAP)_"),
    Kind("dropout", "regularization", r"_(DROP\w*)_", FRACTION, off=True, enable=(0.1, 0.05)),
    Kind("smoothing", "regularization", r"_(SMOOTHING)_", FRACTION, off=True, enable=(0.05, 0.02)),
    Kind("z-loss", "regularization", r"_(Z_?LOSS)", off=True, enable=(1e-4, 1e-3)),
    Kind("init", "initialization", r"_(INIT\w*|STD|STDDEV)_"),
    Kind("fraction", "other", r"_(RATIO|FRAC|FRACTION|PROB|PROBABILITY|SHARE|RATE)_", off=True),
)

OTHER = Kind("other", "other", r"")

_COMPILED = tuple((kind, re.compile(kind.pattern)) for kind in KINDS)

_YARDSTICK = re.compile(
    r"_(SEED\w*|LOG|LOGS|LOGGING|PRINT\w*|VERBOSE|DEBUG|PROFIL\w*|REPORT\w*|EVAL\w*|VAL|VALID\w*|TEST\w*|"
    r"SAVE\w*|CHECKPOINT\w*|REFERENCE\w*|LIMIT|CKPT\w*|TIMEOUT|DEADLINE|BUDGET|SECONDS|MINUTES|HOURS|VOCAB\w*|SHA256|DIGEST)_"
)
"""What a run is measured and reported with: never a knob, whatever else the name says."""

_PLACE = re.compile(
    r"_(PATH\w*|DIR|FOLDER|FILE\w*|URL\w*|HOST|PORT|NAMES?|TITLE|PROJECT|TAG|ID|VERSION|REVISION|KEY|TOKEN|DEVICES?|"
    r"DTYPE|CUDA|GPUS?|CPU|BACKEND|WORLD_SIZE|RANK|THREADS|WORKERS|PREFETCH\w*|PIN_MEMORY|INTERVAL|EVERY|TIME|MAX_STEPS|"
    r"FLOPS|PEAK|BOS\w*|EOS\w*|PAD\w*|DATA|DATASET\w*|CORPUS|SHARDS?|CACHE\w*|TARGET\w*|METRIC)_"
)
"""Where a run happens and on what: no knob, unless the name is of a kind we know (DEVICE_BATCH_SIZE)."""


def kind_of(name: str) -> Kind:
    """The first kind of the table that the constant's name fits; `OTHER` if none."""
    padded = f"_{name.upper().strip('_')}_"
    return next((kind for kind, pattern in _COMPILED if pattern.search(padded)), OTHER)


_SHOWN = re.compile(r"\b(shown|display\w*|print\w*|log(ged|ging)|progress|report\w*)\b", re.IGNORECASE)


def is_fixed(name: str, comment: str = "") -> bool:
    """Whether the constant is no knob: moving it would change the yardstick, or only what people see of the run."""
    if _SHOWN.search(comment):
        return True
    padded = f"_{name.upper().strip('_')}_"
    return bool(_YARDSTICK.search(padded)) or (kind_of(name) is OTHER and bool(_PLACE.search(padded)))
