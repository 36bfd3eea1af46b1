"""The catalogue of structural edits: one entry of data each, run by `edits.apply_edit`.

The entries are written for the shipped train.py but match what the code does, not where it stands: one that does not
fit a source is skipped. Order means nothing. What an entry is worth is learnt (priors.py, the lab's own verdicts).
"""

from __future__ import annotations

from nightlab.search.edits import Edit, Rewrite

CATALOGUE: tuple[Edit, ...] = (
    # --- the MLP
    Edit(
        name="gelu", title="replace the squared ReLU by GELU", family="activation", tags=("mlp",),
        hypothesis="A smooth activation passes gradients for negative inputs too, which a squared ReLU cuts off.",
        rewrites=(Rewrite("F.relu($x).square()", "F.gelu($x)"),),
    ),
    Edit(
        name="silu", title="replace the squared ReLU by SiLU", family="activation", tags=("mlp",),
        hypothesis="SiLU grows linearly, so large activations weigh less than under a square and training is calmer.",
        rewrites=(Rewrite("F.relu($x).square()", "F.silu($x)"),),
    ),
    Edit(
        name="plain-relu", title="drop the square after the ReLU", family="activation", tags=("mlp", "simplify"),
        hypothesis="The square is not needed at this size, and one operation less leaves budget for more steps.",
        rewrites=(Rewrite("F.relu($x).square()", "F.relu($x)"),),
    ),
    Edit(
        name="swiglu", title="gate the MLP (SwiGLU)", family="activation", tags=("mlp",),
        hypothesis="A multiplicative gate lets a hidden unit be switched by another projection, worth its matrix.",
        rewrites=(
            Rewrite("self.up = nn.Linear($w, $h, **$kw)", "self.up = nn.Linear($w, 2 * $h, **$kw)", where="MLP"),
            Rewrite("F.relu(self.up($x)).square()",
                    "(lambda gate, value: F.silu(gate) * value)(*self.up($x).chunk(2, dim=-1))", where="MLP"),
        ),
    ),
    # --- attention
    Edit(
        name="no-qk-norm", title="leave queries and keys unnormalised", family="attention", tags=("norm", "simplify"),
        hypothesis="Without the norm attention can choose its own sharpness, and two operations a layer are saved.",
        rewrites=(Rewrite("norm(rotate($x, cos, sin))", "rotate($x, cos, sin)", times=None),),
    ),
    Edit(
        name="sharper-attention", title="sharpen attention by 1.2", family="attention", tags=("norm",),
        hypothesis="Queries and keys of unit scale cap the attention logits; a larger scale lets heads focus.",
        rewrites=(Rewrite("norm(rotate($x, cos, sin))", "1.1 * norm(rotate($x, cos, sin))", times=None),),
    ),
    Edit(
        name="value-embeddings-everywhere", title="value embeddings in all layers", family="attention",
        tags=("embedding",),
        hypothesis="Token-specific values cost a lookup, no matrix product; every layer may profit from its own.",
        rewrites=(Rewrite("VALUE_EMBEDDINGS and $every", "VALUE_EMBEDDINGS"),),
    ),
    Edit(
        name="normalised-values", title="normalise the attention values", family="attention", tags=("norm",),
        hypothesis="Values of equal length let attention weights alone decide how much each token contributes.",
        rewrites=(Rewrite("attend(q, k, v, *$rest)", "attend(q, k, norm(v), *$rest)"),),
    ),
    # --- the residual stream
    Edit(
        name="parallel-block", title="attention and MLP in parallel", family="architecture", tags=("residual",),
        hypothesis="Both branches read the same stream: shorter paths for gradients, the same number of weights.",
        rewrites=(
            Rewrite("self.attention(norm(x), *$rest)", "self.attention(norm(x), *$rest) + self.mlp(norm(x))", "Block"),
            Rewrite("x + self.mlp($stream)", "x", where="Block.forward"),
        ),
    ),
    Edit(
        name="no-embedding-norm", title="no norm on the embedding", family="normalization", tags=("simplify", "norm"),
        hypothesis="Each branch normalises its own input, so the stream may carry how common a token is in its length.",
        rewrites=(Rewrite("x = norm(self.embedding($t).to($d))", "x = self.embedding($t).to($d)"),),
    ),
    Edit(
        name="layer-norm", title="LayerNorm in place of RMSNorm", family="normalization", tags=("norm",),
        hypothesis="Taking the mean out frees the matrices from having to ignore a common offset of the channels.",
        rewrites=(Rewrite("F.rms_norm($x, $shape, **$kw)", "F.layer_norm($x, $shape, **$kw)"),),
    ),
    Edit(
        name="previous-token", title="mix a little of the previous token into each embedding", family="architecture",
        tags=("embedding",),
        hypothesis="Bigrams then need no attention head of their own, which frees one early in training.",
        rewrites=(Rewrite("x = norm(self.embedding($t).to($d))", """
            x = norm(self.embedding($t).to($d))
            x = torch.cat((x[:, :1], 0.9 * x[:, 1:] + 0.3 * x[:, :-1]), dim=1)"""),),
    ),
    # --- the head and the loss
    Edit(
        name="no-softcap", title="drop the soft cap on logits", family="loss", tags=("head", "simplify"),
        hypothesis="A short run makes no runaway logits; without the cap, confident predictions cost nothing.",
        rewrites=(Rewrite("logits = SOFTCAP * torch.tanh(logits / SOFTCAP)", ""),),
    ),
    Edit(
        name="z-loss", title="add a z-loss while training", family="loss", tags=("head", "regularization"),
        hypothesis="Keeping the log of the normaliser near zero keeps logits from drifting and the rate usable.",
        rewrites=(Rewrite("return F.cross_entropy(logits.view(*$s), *$rest, reduction=reduction)", """
            loss = F.cross_entropy(logits.view(*$s), *$rest, reduction=reduction)
            return loss + 1e-4 * logits.logsumexp(dim=-1).square().mean() if self.training else loss"""),),
    ),
    Edit(
        name="label-smoothing", title="smooth labels by 2 % while training", family="loss", tags=("regularization",),
        hypothesis="Softer targets damp the gradient of tokens that cannot be predicted anyway.",
        rewrites=(Rewrite("F.cross_entropy(*$args, reduction=reduction)",
                          "F.cross_entropy(*$args, reduction=reduction, label_smoothing=0.02 * self.training)"),),
    ),
    Edit(
        name="zero-head", title="start the output head at zero", family="initialization", tags=("head",),
        hypothesis="The first predictions are exactly uniform and the first updates purely those of the data.",
        rewrites=(Rewrite("nn.init.normal_(self.unembedding.weight, **$kw)",
                          "nn.init.zeros_(self.unembedding.weight)"),),
    ),
    # --- the schedule
    Edit(
        name="cosine-warmdown", title="warm down along a cosine", family="schedule", tags=("warmdown",),
        hypothesis="A cosine stays high for longer and ends gently, spending more of the budget at useful rates.",
        rewrites=(Rewrite("FINAL_LR_FRAC + $left * (1 - FINAL_LR_FRAC)",
                          "FINAL_LR_FRAC + (0.5 - 0.5 * math.cos(math.pi * $left)) * (1 - FINAL_LR_FRAC)"),),
    ),
    Edit(
        name="sqrt-warmdown", title="warm down as one minus a square root", family="schedule", tags=("warmdown",),
        hypothesis="Falling fast first and slowly at the end spends more steps at rates that settle the loss.",
        rewrites=(Rewrite("FINAL_LR_FRAC + $left * (1 - FINAL_LR_FRAC)",
                          "FINAL_LR_FRAC + (1 - (1 - $left) ** 0.5) * (1 - FINAL_LR_FRAC)"),),
    ),
    Edit(
        name="constant-weight-decay", title="hold weight decay constant", family="regularization",
        tags=("optimizer", "simplify"),
        hypothesis="Decay is tied to the learning rate already; letting it fall as well leaves the end unregularised.",
        rewrites=(Rewrite("WEIGHT_DECAY * (1 - fraction)", "WEIGHT_DECAY"),),
    ),
    # --- the optimisers
    Edit(
        name="no-row-normalisation", title="drop Muon's per-row normalisation", family="optimizer",
        tags=("muon", "simplify"),
        hypothesis="Orthogonalised updates have even rows already; the running mean square adds only lag.",
        rewrites=(Rewrite("update *= scale * $length", "", where="Muon.step"),),
    ),
    Edit(
        name="plain-weight-decay", title="weight decay that is not cautious", family="optimizer",
        tags=("muon", "simplify", "regularization"),
        hypothesis="Cautious decay halves the regularisation; plain decay keeps weights smaller, the rate higher.",
        rewrites=(Rewrite("update += decay * weights * $mask", "update += decay * weights", where="Muon.step"),),
    ),
    Edit(
        name="no-nesterov", title="Muon without Nesterov's look ahead", family="optimizer", tags=("muon", "simplify"),
        hypothesis="At small batches the fresh gradient is mostly noise; the plain average points better.",
        rewrites=(Rewrite("orthogonalise($gradient.lerp(self.momentum, momentum), *$n)",
                          "orthogonalise(self.momentum, *$n)"),),
    ),
    Edit(
        name="clip-gradients", title="clip the gradient's norm at 1", family="optimizer", tags=("stability",),
        hypothesis="A rare large gradient then cannot upset the embeddings, whose optimiser has a short memory.",
        rewrites=(Rewrite("lr_scale = learning_rate_scale(fraction)",
                          "torch.nn.utils.clip_grad_norm_(self.params, 1.0)\n"
                          "lr_scale = learning_rate_scale(fraction)"),),
    ),
    # --- batch and context
    Edit(
        name="shorter-rows", title="rows half as long, twice as many", family="batch-size", tags=("context",),
        hypothesis="Most of what predicts the next token is near; shorter rows make attention cheaper per token.",
        rewrites=(
            Rewrite("SEQUENCE_LENGTH = $length", "SEQUENCE_LENGTH = $length // 2", times=None),
            Rewrite("DEVICE_BATCH = $rows", "DEVICE_BATCH = $rows * 2", times=None),
        ),
    ),
)  # fmt: skip


BY_NAME = {edit.name: edit for edit in CATALOGUE}
