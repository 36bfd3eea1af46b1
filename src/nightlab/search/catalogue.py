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
        name="leaky-square", title="square a leaky ReLU", family="activation", tags=("mlp",),
        hypothesis="A hidden unit that is off for all tokens gets no gradient under a ReLU; half a slope revives it.",
        rewrites=(Rewrite("F.relu($x).square()", "F.leaky_relu($x, 0.5).square()"),),
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
        name="learnt-sharpness", title="let each head learn how sharp its attention is", family="attention",
        tags=("norm",),
        hypothesis="Some heads should average and others pick one token; a learnt factor per head leaves them both.",
        rewrites=(
            Rewrite("self.gate = $gate", "self.gate = $gate\nself.sharpness = nn.Parameter(torch.ones(self.heads, 1))"),
            Rewrite("norm(rotate(q, cos, sin))", "self.sharpness.to(q.dtype) * norm(rotate(q, cos, sin))"),
        ),
    ),
    Edit(  # autoresearch-evo's blend, of queries and keys alike; elsewhere its recipe has a LayerNorm alone
        name="mixed-qk-norm", title="normalise queries and keys by three parts RMSNorm, one part LayerNorm",
        family="attention", tags=("norm",),
        hypothesis="Some of the common offset of a head's channels is noise to the match, but not all of it.",
        rewrites=(Rewrite("norm(rotate($x, cos, sin))", """
            (0.75 * F.rms_norm(y := rotate($x, cos, sin), y.shape[-1:], eps=NORM_EPS)
             + 0.25 * F.layer_norm(y, y.shape[-1:], eps=NORM_EPS)).to(y.dtype)""", times=None),),
    ),
    Edit(
        name="grouped-heads", title="two heads share keys and values", family="attention", tags=("simplify",),
        hypothesis="Heads need questions of their own more than answers: half the keys and values may do.",
        rewrites=(
            Rewrite("self.key = nn.Linear($w, $w, **$kw)",
                    "self.key = nn.Linear($w, $w // math.gcd(2, self.heads), **$kw)"),
            Rewrite("self.value = nn.Linear($w, $w, **$kw)",
                    "self.value = nn.Linear($w, $w // math.gcd(2, self.heads), **$kw)"),
            Rewrite("self.key($x).view(shape)", "self.key($x).repeat(1, 1, math.gcd(2, self.heads)).view(shape)"),
            Rewrite("self.value($x).view(shape)", "self.value($x).repeat(1, 1, math.gcd(2, self.heads)).view(shape)"),
        ),
    ),
    Edit(
        name="head-gate", title="gate the output of each head", family="attention", tags=("residual",),
        hypothesis="Softmax makes a head always say something; a gate read off the token lets it keep silent.",
        rewrites=(
            Rewrite("self.out = $out", """
                self.out = $out
                self.open = nn.Linear(min(GATE_CHANNELS, width), self.heads, bias=False)
                nn.init.zeros_(self.open.weight)""", where="Attention.__init__"),
            Rewrite("attend(*$args)", "2 * torch.sigmoid(self.open(x[..., :self.open.in_features]))[..., None]"
                                      " * attend(*$args)", where="Attention.forward"),
        ),
    ),
    Edit(
        name="half-rotary", title="rotate only the fast half of each head's channels", family="attention",
        tags=("rope",),
        hypothesis="The slow half hardly turns within a row; freed from position it matches by content alone.",
        rewrites=(Rewrite("torch.outer($place, frequency)", "torch.outer($place, frequency * "
                          "(torch.arange(len(frequency), device=DEVICE) < len(frequency) // 2))"),),
    ),
    Edit(
        name="no-rotary-in-wide-layers", title="no positions in the layers that see the whole row",
        family="attention", tags=("rope",),
        hypothesis="Layers with a window tell near from nearer; those that look far should match by content alone.",
        rewrites=(Rewrite("block(x, ve, cos, sin, $mask)", """
            block(x, ve, *((cos, sin) if block.attention.window < SEQUENCE_LENGTH else
                           (torch.ones_like(cos), torch.zeros_like(sin))), $mask)"""),),
    ),
    Edit(
        name="induction-keys", title="keys half of the token, half of the one before", family="attention",
        tags=("embedding",),
        hypothesis="A head can then find what followed a token's last occurrence in one layer rather than two.",
        rewrites=(Rewrite("self.key($x)", "self.key(0.5 * $x + 0.5 * F.pad($x, (0, 0, 1, -1)))"),),
    ),
    Edit(
        name="value-embeddings-everywhere", title="value embeddings in all layers", family="attention",
        tags=("embedding",),
        hypothesis="Token-specific values cost a lookup, no matrix product; every layer may profit from its own.",
        rewrites=(Rewrite("VALUE_EMBEDDINGS and $every", "VALUE_EMBEDDINGS"),),
    ),
    Edit(
        name="no-value-gate", title="add value embeddings without a gate", family="attention",
        tags=("embedding", "simplify"),
        hypothesis="The embedding's own length can say how much it counts; a gate per head is a matrix too many.",
        rewrites=(
            Rewrite("self.gate = $gate", "self.gate = None"),
            Rewrite("""
                if ve is not None and self.gate is not None:
                    gate = $gate
                    v = v + gate.unsqueeze(-1) * $ve""", "if ve is not None:\n    v = v + $ve"),
        ),
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
        name="sandwich-norm", title="normalise what each branch writes as well", family="normalization",
        tags=("norm", "residual"),
        hypothesis="Branches of unit size keep any layer from shouting the others down once weights have grown.",
        rewrites=(
            Rewrite("self.attention(norm(x), *$rest)", "norm(self.attention(norm(x), *$rest))", where="Block.forward"),
            Rewrite("self.mlp($stream)", "norm(self.mlp($stream))", where="Block.forward"),
        ),
    ),
    Edit(
        name="scaled-branches", title="divide what branches write by the root of the depth", family="architecture",
        tags=("residual",),
        hypothesis="The stream then keeps its size at any depth, and the embedding still counts in the last layer.",
        rewrites=(
            Rewrite("self.attention(norm(x), *$rest)", "DEPTH ** -0.5 * self.attention(norm(x), *$rest)",
                    where="Block.forward"),
            Rewrite("self.mlp($stream)", "DEPTH ** -0.5 * self.mlp($stream)", where="Block.forward"),
        ),
    ),
    Edit(
        name="no-x0", title="embeddings enter the stream only once", family="architecture",
        tags=("residual", "embedding", "simplify"),
        hypothesis="A short stack forgets little of its input, so a second way in is one more weight to tune.",
        rewrites=(
            Rewrite("self.x0_weights = $w", ""),
            Rewrite("nn.init.constant_(self.x0_weights, $v)", ""),
            Rewrite("x0 = x", "", where="GPT.forward"),
            Rewrite("$stream + self.x0_weights[i].to($d) * x0", "$stream"),
            Rewrite("[*$before, AdamW([model.x0_weights], $lr), *$after]", "[*$before, *$after]"),
        ),
    ),
    Edit(
        name="no-resid-weights", title="the residual stream enters layers unweighted", family="architecture",
        tags=("residual", "simplify"),
        hypothesis="Every branch normalises what it reads, so the stream's weights change little that matters.",
        rewrites=(
            Rewrite("self.resid_weights = $w", ""),
            Rewrite("nn.init.constant_(self.resid_weights, $v)", ""),
            Rewrite("self.resid_weights[i].to($d) * x", "x"),
            Rewrite("[*$before, AdamW([model.resid_weights], $lr), *$after]", "[*$before, *$after]"),
        ),
    ),
    Edit(
        name="no-embedding-norm", title="no norm on the embedding", family="normalization", tags=("simplify", "norm"),
        hypothesis="Each branch normalises its own input, so the stream may carry how common a token is in its length.",
        rewrites=(Rewrite("x = norm(self.embedding($t).to($d))", "x = self.embedding($t).to($d)"),),
    ),
    Edit(
        name="layer-norm", title="LayerNorm in place of RMSNorm, type kept", family="normalization", tags=("norm",),
        hypothesis="Taking the mean out frees the matrices from having to ignore a common offset of the channels.",
        rewrites=(Rewrite("F.rms_norm($x, $shape, **$kw)", "F.layer_norm($x, $shape, **$kw)", where="norm"),),
    ),
    Edit(
        name="previous-token", title="mix a little of the previous token into each embedding", family="architecture",
        tags=("embedding",),
        hypothesis="Bigrams then need no attention head of their own, which frees one early in training.",
        rewrites=(Rewrite("x = norm(self.embedding($t).to($d))", """
            x = norm(self.embedding($t).to($d))
            x = torch.cat((x[:, :1], 0.9 * x[:, 1:] + 0.3 * x[:, :-1]), dim=1)"""),),
    ),
    Edit(
        name="bigram-embedding", title="embed pairs of tokens as well", family="architecture", tags=("embedding",),
        hypothesis="Much of a token's meaning is its pair with the last; a hashed table learns that without layers.",
        rewrites=(
            Rewrite("self.embedding = nn.Embedding($v, $w)", """
                self.embedding = nn.Embedding($v, $w)
                self.bigrams = nn.Embedding(8 * $v, $w)"""),
            Rewrite("nn.init.normal_(self.embedding.weight, **$kw)", """
                nn.init.normal_(self.embedding.weight, **$kw)
                nn.init.zeros_(self.bigrams.weight)"""),
            Rewrite("self.embedding($t)", "self.embedding($t) + self.bigrams("
                    "(7919 * F.pad($t, (1, -1)) + $t) % self.bigrams.num_embeddings)", where="GPT.forward"),
            Rewrite("[model.embedding.weight, *$more]", "[model.embedding.weight, model.bigrams.weight, *$more]"),
        ),
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
    Edit(  # the embedding keeps its rate and start; the factor gives the head the speed that it had
        name="tied-head", title="one table for embedding and output head", family="architecture",
        tags=("head", "embedding", "simplify"),
        hypothesis="Rare tokens are seldom read but scored at every step: shared, their rows learn from both.",
        rewrites=(
            Rewrite("self.unembedding = $head", "self.unembedding = $head\n"
                                                "self.unembedding.weight = self.embedding.weight"),
            Rewrite("nn.init.normal_(self.unembedding.weight, **$kw)", ""),
            Rewrite("self.unembedding($x)", "self.unembedding(UNEMBEDDING_LR / EMBEDDING_LR * $x)"),
            Rewrite("[*$before, AdamW(model.unembedding.parameters(), $lr), *$after]", "[*$before, *$after]"),
        ),
    ),
    Edit(
        name="orthogonal-init", title="start input projections orthogonal", family="initialization", tags=("muon",),
        hypothesis="Muon's updates are orthogonal; from a start that is so too, no direction begins weak.",
        rewrites=(Rewrite("nn.init.uniform_(reader.weight, -reach, reach)", """
            nn.init.orthogonal_(
                reader.weight, gain=MATRIX_INIT * max(1.0, reader.out_features / reader.in_features) ** 0.5)"""),),
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
    Edit(
        name="constant-momentum", title="Muon's momentum without a warm-up", family="schedule",
        tags=("muon", "simplify"),
        hypothesis="Orthogonalised updates have one length however stale, so early memory does little harm.",
        rewrites=(
            Rewrite("warmth = $w", "", where="Optimiser.step"),
            Rewrite("momentum = MUON_MOMENTUM_START + $rise", "momentum = MUON_MOMENTUM", where="Optimiser.step"),
        ),
    ),
    Edit(
        name="momentum-cooldown", title="let Muon's momentum fall in the last quarter", family="schedule",
        tags=("muon", "warmdown"),
        hypothesis="As the rate falls, gradients from where the weights were point past where they settle.",
        rewrites=(Rewrite("warmth = min(1.0, $rise)", "warmth = min(1.0, $rise, 4 * (1 - fraction))"),),
    ),
    Edit(
        name="decaying-embeddings", title="weight decay for embeddings and head", family="regularization",
        tags=("optimizer", "embedding"),
        hypothesis="Rows that only grow turn ever more slowly, as they are normalised; decay keeps them learning.",
        rewrites=(Rewrite("torch._foreach_add_(self.steps, 1.0)", """
            torch._foreach_add_(self.steps, 1.0)
            if self.params[0].dim() > 1:
                torch._foreach_mul_(self.params, 1 - 0.01 * self.lr * lr_scale)""", where="AdamW.step"),),
    ),
    # --- the optimisers
    Edit(
        name="no-row-normalisation", title="drop Muon's per-row normalisation", family="optimizer",
        tags=("muon", "simplify"),
        hypothesis="Orthogonalised updates have even rows already; the running mean square adds only lag.",
        rewrites=(
            Rewrite("self.row_square = $zeros", ""),
            Rewrite("""
                square = $mean
                self.row_square.lerp_(square, $share)
                scale = $root
                length, scaled = $sums
                update *= scale * $length""", "", where="Muon.step"),
        ),
    ),
    Edit(
        name="elementwise-normalisation", title="Muon's running mean square for each weight", family="optimizer",
        tags=("muon",),
        hypothesis="Within a row some weights see steadier gradients than others, which the row's mean hides.",
        rewrites=(
            Rewrite("self.row_square = $zeros", "self.row_square = torch.zeros_like(self.momentum)"),
            Rewrite("update.square().mean(dim=-1, keepdim=True)", "update.square()", where="Muon.step"),
            Rewrite("s.sum(dim=-2, keepdim=True)", "s.sum(dim=(-2, -1), keepdim=True)", where="Muon.step"),
        ),
    ),
    Edit(
        name="cautious-updates", title="Muon moves only where update and gradient agree", family="optimizer",
        tags=("muon", "stability"),
        hypothesis="Where memory and the fresh gradient disagree in sign, the step is a gamble better not taken.",
        rewrites=(Rewrite("lr = self.lr * lr_scale", """
            agree = (update * slope >= 0).float()
            update *= agree / agree.mean(dim=(-2, -1), keepdim=True).clamp_min(0.1)
            lr = self.lr * lr_scale""", where="Muon.step"),),
    ),
    Edit(
        name="centred-gradients", title="take the mean out of each row's gradient", family="optimizer", tags=("muon",),
        hypothesis="A gradient common to all inputs of a neuron is a bias in disguise and crowds out the rest.",
        rewrites=(Rewrite("slope = torch.stack($all)",
                          "slope = torch.stack($all)\nslope -= slope.mean(dim=-1, keepdim=True)"),),
    ),
    Edit(
        name="rate-by-longer-side", title="wide matrices learn as fast as tall ones", family="optimizer",
        tags=("muon", "mlp"),
        hypothesis="An orthogonal update of a wide matrix has small entries too, so the MLP's second half lags behind.",
        rewrites=(Rewrite("max(1.0, rows / columns) ** 0.5",
                          "(max(rows, columns) / min(rows, columns)) ** 0.5", where="Muon"),),
    ),
    Edit(
        name="averaged-weights", title="end with an average of the last weights", family="optimizer",
        tags=("regularization",),
        hypothesis="Steps scatter around the valley's floor; their mean of some twenty lies closer to it than any.",
        rewrites=(
            Rewrite("self.params = list(model.parameters())", "self.params = list(model.parameters())\n"
                    "self.average = [param.detach().clone() for param in self.params]"),
            Rewrite("for param in self.params:\n    param.grad = None", """
                torch._foreach_lerp_(self.average, self.params, max(0.05, 1 / (1 + step)))
                for param in self.params:
                    param.grad = None"""),
            Rewrite("progress.close()", "torch._foreach_copy_([param.data for param in optimiser.params], "
                    "optimiser.average)\nprogress.close()", where="train"),
        ),
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
    Edit(
        name="batch-warmup", title="half the batch during the first fifth", family="batch-size", tags=("warmup",),
        hypothesis="Early gradients agree so well that half as many tokens a step do, for twice as many steps.",
        rewrites=(
            Rewrite("count = micro_steps(device_batch)", """
                device_batch = max(1, device_batch // 2)
                count = micro_steps(device_batch)"""),
            Rewrite("budget.step(tokens=TOTAL_BATCH)", "budget.step(tokens=TOTAL_BATCH // count * "
                    "(now := count if budget.fraction >= 0.2 else (count + 1) // 2))"),
            Rewrite("train_step(forward, data, count)", "train_step(forward, data, now)"),
        ),
    ),
)  # fmt: skip


BY_NAME = {edit.name: edit for edit in CATALOGUE}
