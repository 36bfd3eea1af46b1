"""The field's words: one table of data, from which `tokens` reads descriptions.

Each line is `name: phrase | phrase ...`; the name itself counts as a phrase too. Inflections need not be listed (see
`tokens.stem`), nor hyphens and underscores: they part words. The longest phrase wins. These are standard terms of
training models, of neighbouring fields, and plain English; nothing here knows a particular train.py.
"""

from __future__ import annotations

PROPERTIES = """
frameskip: frame skip | action repeat | action repeats | frame skipping
reglambda: l2 regularization lambda | lambda for l2 | reg lambda | l2 leaf reg | lambda l2
regalpha: reg alpha | lambda l1 | l1 penalty | l1 regularization
lr: peak lr | max lr | maximum lr | peak learning rate | maximum learning rate | max learning rate | base lr
  | base learning rate | learning rate | step size | stepsize | lrs | learning rates | eta | shrinkage
finallr: linear decay to | cosine decay to | decay linearly to | decay lr linearly to | decay lr to
  | decay learning rate to | anneal lr to | decay to | decay down to | decay lr down to | anneal down to | anneal to
  | lr decay to | learning rate decay to | final lr | final learning rate | final lr frac | final lr fraction
  | min lr | minimum lr | lr min | lr floor | floor lr | end lr | lr end | ending lr | minimum learning rate
  | min learning rate | learning rate floor | floor of learning rate | eta min | terminal lr
  | terminal learning rate | lr final | lr min frac | ending at | of peak | of peak lr | of peak learning rate
  | of max lr | of maximum lr | of initial lr | of base lr | end of decay | min lr ratio | end learning rate
  | ending learning rate | floor for lr | floor for learning rate | floor on lr | nonzero lr floor
warmup: warm up | ramp | ramped | ramp up | rampup | lr warmup | learning rate warmup | learning rate warm up
  | linear warmup | warmup of lr | warmup of learning rate | warmup schedule | warmup phase | lr ramp | linear ramp
warmdown: warm down | cooldown | cool down | ramp down | rampdown | lr decay | learning rate decay | decay tail
  | decay phase | decay ratio | decay fraction | decay frac | decay period | decay portion | lr decay tail
  | schedule tail | lr tail | lr schedule tail | learning rate schedule tail | annealing phase | anneal phase
  | lr annealing | final decay | decay steps | lr anneal | decay over last | decay over final | decay for last
  | decay during last | decay in last | anneal over last | decay lr over last | decay learning rate over last
  | learning rate cooldown | lr cooldown | decay window | cooldown phase | tail of schedule | tail of lr schedule
  | tail of learning rate schedule | learning rate annealing
weightdecay: weight decay | wd | l2 | l2 penalty | l2 regularization | decoupled weight decay | decay of weights
  | l2 reg
momentum: momentum coefficient
beta1: beta 1 | b1 | beta one | first beta | first moment decay | first moment coefficient | first moment beta
beta2: beta 2 | b2 | beta two | second beta | second moment decay | second moment coefficient | second moment beta
betas: beta pair
eps: epsilon
gradclip: gradient clipping | grad clip | clip grad | clip gradients | gradient norm clipping | grad norm clip
  | clip grad norm | max grad norm | maximum gradient norm | gradient norm limit | clip norm | max norm
  | global norm clipping | gradient norm cap | gradient norm ceiling | clip gradient norm | clip global norm
  | gradient clip norm | clip norm of gradients | cap gradient norm | clip global gradient norm
  | clip global grad norm | grad norm | clip gradients by norm | cap gradients | bound gradient norm
accumulation: accumulate | gradient accumulation | grad accum | grad accumulation | gradient accum | accum
  | accumulation steps | accum steps | gradient accumulation steps | grad accum steps | accumulate gradients
  | micro steps | accumulate gradient | microsteps
batch: batch size | batchsize | bs | bsz | total batch | total batch size | global batch | global batch size
  | effective batch | effective batch size | tokens per step | tokens per update | tokens per iteration
  | tokens per optimizer step | tokens per batch | mini batch | minibatch | mini batch size | minibatch size
  | train batch | training batch | training batch size | overall batch size | train batch size | batch tokens
  | examples per step | samples per step | tokens per optimizer update
devicebatch: rows per forward pass | sequences per forward pass | sequences per forward | rows per forward
  | rows per gpu | device batch | device batch size | micro batch | microbatch | micro batch size | microbatch size
  | per device batch | per device batch size | per gpu batch | per gpu batch size | local batch | local batch size
  | batch per device | batch per gpu | batch size per device | batch size per gpu | rows per device
  | sequences per device | per device rows | physical batch size
seqlen: sequence | sequence length | seq len | context length | context size | context window | max seq len
  | maximum sequence length | ctx len | ctx | context | ctx length | max sequence length | training context
  | train sequence length | n ctx | max context | training context length | sequence len | row length | block size
  | training sequence length
depth: as deep | n layer | num layers | number of layers | layer count | n layers | hidden layers | transformer layers
  | transformer blocks | number of blocks | n blocks | num blocks | block count | layers deep | tree depth
  | max tree depth | depth of tree | depth of trees | depth of each tree | transformer depth | model depth
  | network depth | max depth
width: as wide | filters | filter | number of filters | model dim | d model | hidden size | hidden dim
  | hidden dimension
  | n embd | n embed | embedding dim | embed dim | embedding dimension | model width | model dimension
  | hidden width | channel | embedding size | emb size | emb dim | residual width | model channels | feature dim
  | residual stream width | hidden units | dmodel | embed size | width of model | hidden channels
aspect: aspect ratio | width per layer | width to depth ratio | width per layer of depth
heads: n head | num heads | attention heads | number of heads | query heads | n heads | head count | head | q heads
  | number of attention heads | num attention heads | n attention heads | attn heads | n q heads
kvheads: kv heads | n kv head | n kv heads | num kv heads | key value heads | kv groups | gqa groups
  | number of kv heads | num key value heads | key value groups | kv head count | kv head
  | number of key value heads | heads for keys and values
headdim: head dim | head size | head dimension | dim per head | dimension per head | per head dim
  | per head dimension | heads of size | heads of dim | heads of dimension | heads of width | dim heads | head width
  | channels per head | d head | size of each head | attention head size | attention head dim
  | attention heads of size | size per head | width per head | attention head dimension | per head width
  | per head size | dims per head | dimensional heads | dimensional attention heads | width of each head | wide heads
mlpratio: expansion | mlp ratio | mlp expansion | expansion factor | expansion ratio | ffn multiplier | ffn ratio
  | mlp width | mlp multiplier | mlp mult | ff mult | ffn mult | feedforward expansion | mlp hidden | mlp hidden dim
  | mlp hidden size | hidden multiplier | ffn dim | mlp dim | intermediate size | ffn size | ffn hidden
  | ffn hidden size | mlp expansion factor | mlp expansion ratio | ffn width | ffn expansion | feed forward width
  | feed forward multiplier | feed forward expansion | mlp hidden multiplier | mlp hidden width
  | ffn expansion factor | ffn hidden dim | mlp hidden ratio | feedforward multiplier | feed forward hidden size
  | mlp hidden dimension | feedforward hidden size | feedforward width | feed forward ratio | mlp inner dimension
  | mlp inner dim | intermediate dim | d ff
dropout: drop rate | drop prob | dropout rate | dropout probability | drop probability | dropout prob | dropout p
  | p drop
droppath: drop path | stochastic depth | layer drop | layerdrop | drop path rate | stochastic layer skipping
softcap: soft cap | logit cap | logits cap | logit softcap | tanh cap | tanh softcap | logit soft capping
  | soft capping | tanh capping | capping of logits | cap on logits | tanh squash | tanh squashing | logit capping
  | softcapping | logit squashing | cap logits | tanh bound on logits | soft clamp | tanh clamp | soft clamping
  | logit clamp | logits softcap | tanh soft cap | soft cap on logits | logit tanh | soft limit on logits
  | tanh limit | soft logit cap | cap of logits
zloss: z loss | logsumexp penalty | log z penalty | log partition penalty | lse penalty | squared logsumexp
  | log z loss | penalize squared logsumexp | penalize logsumexp | logsumexp regularizer | z loss penalty
  | squared log partition | log normalizer penalty
labelsmooth: label smoothing | smooth labels | smoothed labels | smoothed targets | smooth targets | soften targets
  | soft targets | soften one hot targets | smoothing of labels | soften labels | target smoothing
ema: exponential moving average | weight averaging | average weights | polyak | polyak averaging | averaged weights
  | model averaging | weight average | moving average of weights | running average of weights | weight ema
  | ema of weights | parameter averaging
swa: stochastic weight averaging
nssteps: ns steps | newton schulz | newton schulz iterations | newton schulz steps | ns iterations | ns iters | ns
  | polar iterations | orthogonalization steps | orthogonalization iterations | newton schulz iters | backend steps
  | muon orthogonalization | newtonschulz | zeropower iterations | orthogonalizing iterations
ropebase: rope base | rope theta | rotary base | theta | rope frequency base | rope base frequency | rotary theta
  | base theta | rotary frequency base | base frequency of rope | rope wavelength | base of rope
  | rotary base frequency | rope freq base | rotary embedding base | rope base theta | base frequency | freq base
  | rope frequency | theta of rope | base of rotary embeddings
window: sliding window | window size | attention window | local window | windowed attention | banded attention
  | local attention | sliding window attention | sliding window size | local attention window | window length
  | swa window | short window | window of attention | attention window size | attention span
windowpattern: window pattern | attention pattern | sliding window pattern | layer pattern
  | attention window pattern
init: initialization | initial | weight init | weight initialization | init std | init scale | std
  | standard deviation | stddev | stdev | init standard deviation | initial std | initialization std
  | initialization scale | init gain | initial scale | initializer | initial value | initializer range
  | starting value | sigma
capacity: capacity factor | expert capacity
vocab: vocabulary size | vocab size | vocabulary | number of tokens in vocabulary
trainsteps: training steps | train steps | num iterations | number of iterations | max steps | training iterations
  | max iterations | n iterations | num steps | total steps | number of training steps | total iterations
  | number of steps | iterations
epochs: epoch | n epochs | num epochs | number of epochs | passes over data
lossscale: loss scale | loss scaling
temperature: temp | softmax temperature
attnscale: attention scale | attention temperature | qk scale | softmax scale | attention logit scale | attn scale
  | attention scaling | qk gain | qk scaling | attention sharpness | scale of attention logits
logitscale: logit scale | logit multiplier | logits multiplier | output multiplier | output scale
  | logit temperature | scale of logits
resolution: image size | image resolution | input resolution | input size | img size | crop size
patch: patch size
kernel: kernel size | filter size
stride: strides
ntrees: n estimators | number of trees | num trees | boosting rounds | trees | n trees | num boost round
  | number of boosting rounds | boosting iterations | tree count | rounds of boosting | estimators
leaves: num leaves | number of leaves | max leaves | leaf count | leaves per tree
minleaf: min child weight | min data in leaf | min samples leaf | minimum samples per leaf | min leaf size
  | minimum leaf size | min child samples | minimum child weight | minimum data per leaf
subsample: row sampling | bagging fraction | row subsampling | subsampling | sample rows | row sample | bagging
colsample: colsample bytree | column sampling | feature fraction | feature sampling | feature subsampling
  | column subsampling | columns per tree
maxbin: max bin | max bins | number of bins | histogram bins | num bins
earlystop: stop after | early stopping | early stopping rounds | early stopping patience | patience | early stop
  | stop early
discount: discount factor | gamma | reward discount
gaelambda: gae lambda | gae
entropy: entropy coefficient | entropy bonus | ent coef | entropy coef | entropy regularization | entropy weight
  | policy entropy bonus
ppoclip: clip range | clip epsilon | ppo clip | clip ratio | ppo clip range | clip eps | ppo epsilon | policy clip
  | surrogate clip | clip coef | ppo clip ratio | clip coefficient | policy clip range | surrogate clipping range
vfcoef: vf coef | value loss coefficient | value loss coef | value coefficient | value function coefficient
  | critic loss weight | value loss weight
replay: replay buffer | replay buffer size | replay capacity | experience replay | buffer capacity | replay memory
  | replay size | replay buffer capacity
targetupdate: target update | target network update | target update interval | target sync
  | target network update interval | target update frequency | target network sync | target network period
  | target network update frequency | target update period
tau: polyak tau | soft update | target tau | soft update rate
nenvs: n envs | num envs | parallel environments | parallel envs | number of environments | num environments | envs
  | actor count | environments | number of parallel environments | number of envs | actors
rollout: rollout length | horizon | rollout steps | n steps | rollout horizon | unroll length | steps per rollout
exploration: epsilon greedy | exploration rate | exploration epsilon | exploration noise
buffer: buffer size | buf size | buffers
sharedbuffers: shared buffers
workmem: work mem | work memory | sort memory
pagesize: page | page size | block cache | leaf page size
cache: cache size | cached | caching
chunk: chunk size
threads: workers | worker threads | number of threads | num threads | num workers | n workers | n threads
  | thread count | worker count | worker processes | data loader workers | dataloader workers | number of workers
  | n jobs | loader workers
prefetch: prefetch depth | prefetch factor | read ahead | readahead | prefetching
poolsize: pool size | connection pool | connection pool size | max connections | pool connections
  | number of connections
timeout: time out | time limit | deadline
retries: retry count | max retries | number of retries
queuedepth: queue depth | queue size | queue length | io depth
fillfactor: fill factor
inlining: inline threshold | inlining threshold | inline limit | inline | inliner threshold
unroll: loop unrolling | unroll loops | unroll factor | unroll count | unrolling | funroll loops
samplerate: sample rate | sampling rate | sampling frequency
topk: top k
topp: top p | nucleus sampling | nucleus
beam: beam size | beam width | beam search width
rank: lora rank | low rank dimension | lora r
seed: random seed | seeds
tokens: token budget | number of tokens | training tokens
experts: n experts | num experts | number of experts | expert count | expert | moe experts
maskprob: masking ratio | mask ratio | masking probability | mask rate | masking rate | mask probability
negatives: negative samples | number of negatives | negative sampling
fanout: branching factor
ngram: n gram | ngram size
lossweight: loss weight | loss coefficient | auxiliary weight | aux loss weight | auxiliary loss weight
gatechannels: gate channels | gate width | gate dim | gating channels
rewardscale: reward scaling | reward scale | scale rewards
bloom: bloom filter | bloom bits
"""

PARTS = """
prealloc: preallocate | pre allocate | reserve capacity | preallocation | preallocated
memoize: memoization | memoized | cache results
tta: test time augmentation
rowpartition: partitioning | partition by
embedding: token embedding | wte | embed | input embedding | emb | word embedding | embedding table
  | embedding matrix | tok emb | token embeddings | embedding layer | input embeddings | embedding lookup
  | token embedding table | token embedding matrix | input embedding matrix | embedding parameters
  | input embedding table | token embed
unembedding: lm head | lmhead | output projection | output head | classifier head | classification head
  | output embedding | unembed | output layer | final linear | final projection | readout | logit head
  | logit projection | logits projection | softmax layer | output matrix | vocab projection | unembedding matrix
  | output embeddings | final linear layer | classifier layer | language model head | output classifier
  | final classifier | prediction head | classifier | vocabulary projection | language modeling head
  | final output projection | output linear | final output layer | unembed matrix
matrix: matrices | hidden matrices | weight matrices | hidden weights | 2d weights | 2d params | matrix params
  | weight matrix | matrix parameters | 2d parameters | 2d matrices
scalar: scalars | scalar params | scalar parameters | 1d params | per layer scalars
mlp: ffn | feed forward | feedforward | ff | mlp block | mlp layers | ffn layers | mlps | feed forward layers
  | feed forward network | mlp sublayer | ffn block | feed forward block | fully connected | feedforward network
  | perceptron
attention: attend | attends | attn | self attention | sdpa | attention layers | attention block | attention sublayer
  | attentions | self attn | attention module
attnout: out projection | attention output projection | attn output projection | c proj | o proj | out proj | wo
  | attention out projection | attention output matrix | projection after attention
attnoutput: attention output | attn output | output of attention | attn out | attention result | sdpa output
layer: block | layers | blocks | transformer layer | transformer block | sublayer | sub layer
q: query | queries
k: key | keys
v: value vectors | attention values
kv: keys and values | key value | k and v | k v | keys values | key and value
qkv: query key value | fused qkv
valueembed: value embedding | value embeddings | ve | value embeds | token value embeddings | ves | value embed
  | value token embeddings
posembed: pos embedding | pos emb | absolute pos embeddings | learned absolute position embeddings | position table
  | positional embedding | position embedding | positional encoding | position encoding | wpe | position embeddings
  | positional embeddings | absolute position embeddings | learned positions | learned positional embeddings
  | learned position embeddings
x0: x0 lambda | x0 lambdas | x0 residual | x0 skip | embedding skip | embedding residual | embedding shortcut
  | x0 mixing | x0 residuals | input injection | embedding skip connection | skip from embedding
  | x0 residual lambdas | x0 lambda residual | x0 residual lambda | embedding re injection | embedding reinjection
  | x 0
residlambda: residual lambda | residual lambdas | resid lambda | resid lambdas | residual scalars | residual scale
  | residual scaling | residual weight | residual multiplier | residual gain | residual stream scaling
  | per layer residual scale | residual branch scale | residual scalar | residual weights
  | residual stream multiplier
layerscale: layer scale
zeroinit: zero initialized | zero initialization | initialized to zero | initialized at zero | init to zero
  | initialize to zero | initialise at zero | zero init | zero initialised | zeroed init | zero initialisation
  | initialize with zeros
depthscaled: depth scaled
steady
longwindow: long window | full window | long attention window
heavyball: heavy ball | plain momentum | classical momentum | ordinary momentum | polyak momentum
residualproj: residualprojections | residual projection | residual out projection
residual: skip connection | shortcut | residual connection | residual stream | resid | residuals | skip connections
  | shortcut connection | shortcuts | identity path | skip path | skips | residual path | residual branch
  | residual connections | shortcut connections | stream
unet: u net | u net skips | unet skips | unet skip connections | u net skip connections | long skips
  | long skip connections | encoder decoder skips | u shaped skips | skips from early to late layers | u net skip
  | unet skip
norm: normalization | normalize | norms | normalizing | normalized
qknorm: qk norm | query key norm | q k norm | query key normalization | qk normalization
  | normalize queries and keys | normalize q and k | norm on q and k | normalize qk | norm queries and keys
  | norm on queries and keys | q and k norm | qk layernorm | qk rmsnorm | normalization of queries and keys
  | normalizing queries and keys | query and key normalization | normalize q k | norm q and k | rmsnorm on q and k
  | norms on q and k | norm of q and k | norm on qk | norms on queries and keys | q k normalization
prenorm: pre norm | pre ln | pre layernorm | pre normalization | prenormalization | norm first | pre layer norm
postnorm: post norm | post ln | post layernorm | post normalization | norm last | post layer norm
sandwichnorm: sandwich norm | peri ln | sandwich ln | sandwich normalization | peri norm
  | norm before and after each sublayer | norm before and after each block
finalnorm: final norm | last norm | norm before head | norm before unembedding | norm before lm head
  | final normalization
embednorm: embedding norm | norm after embedding | normalize embedding | norm on embedding
  | normalization after embedding | embedding normalization | normalize token embeddings | norm on token embeddings
  | normalize embedding output | norm of embedding | embed norm | normalize input embedding
  | norm after token embedding | normalization after token embedding | norm after wte | normalization of embedding
gate: gating | gates | gated
outputgate: output gate | output gating | gated output | gate on output
parallelblock: parallel block | parallel blocks | parallel residual | parallel attention and mlp | parallel attn mlp
  | parallel attention mlp | attention and mlp in parallel | parallel layers | parallel transformer blocks
  | parallel sublayers | attention parallel to mlp | mlp parallel to attention | mlp in parallel with attention
  | attention in parallel with mlp | parallel attn and mlp
moe: mixture of experts | mixture | sparse mlp | sparse experts | sparse mixture of experts | moe layers | moe mlp
  | sparse ffn
router: routing | routed
sharedexpert: shared expert | shared experts
tokenshift: token shift | token shifting | shift mixing | mix with previous token | smear | add previous token
  | add bit of previous token | time shift | smear gate
  | token smearing | previous token mixing | token smear | blend with previous token | mix in previous token
  | time mixing | token mixing shift | mix previous token
mtp: token after next | next next token | second next token | multi token prediction
  | predict two tokens ahead | next two tokens | multi token loss | multi token head
  | multitoken prediction | second next token prediction | predict token after next
docmask: document masking | document mask | mask across documents | intra document masking | cross document masking
  | doc mask | doc masking | document attention mask | attention across documents | cross document attention
  | document boundaries | attending across documents | mask document boundaries | document boundary mask
  | doc boundary masking | document boundary masking
shuffle: shuffling | random order | randomize order | shuffled | reshuffle | random data order
  | randomize data order
anticurriculum: hard to easy | long to short | hardest first | longest first | hard first
curriculum: curriculum learning | easy to hard | easy first | easiest first | from easy to hard
lengthorder: short to long | length curriculum | shortest first | short first | sort by length | order of length
  | increasing length | sequence length curriculum | sorted by length | short sequences first
  | increasing document length | order by length | short documents first
packing: sequence packing | pack sequences | pack documents | packed sequences | best fit packing | document packing
dedup: remove duplicate documents | drop duplicate documents | remove near duplicates | filter duplicates
  | filter near duplicates | drop duplicates | deduplication | deduplicate | remove duplicates
bos: beginning of sequence token | bos token | start token | start of document token | document start token
  | start of sequence token
checkpointing: activation checkpointing | gradient checkpointing | recompute activations | activation recomputation
  | remat | rematerialization | checkpoint activations | recompute activations in backward | recomputation
  | activation checkpoint | gradient checkpoint
compile: torch compile | jit | compilation
flashattn: flash attention | flash attn | fa2 | fa3 | flashattention | fused attention kernel | fused attention
fused: fuse | fusing | fused kernel
nesterov: nesterov momentum | nesterov acceleration | nesterov style momentum | nesterov updates
  | lookahead momentum
amsgrad: ams grad
biascorrection: bias correction | debias | debiasing
cautious: cautious updates | cautious optimizer | cautious masking | cautious update
cautiouswd: cautious weight decay
lookahead: lookahead optimizer
sam: sharpness aware | sharpness aware minimization
gqa: grouped query attention | grouped queries | grouped query | grouped kv
mla: multi head latent attention | latent attention | multi latent attention
diffattn: differential attention | diff attention | diff attn
fullattn: full length attention | full sequence attention | full range attention
  | full attention | fullattention | global attention | full causal attention | full context attention
  | full global attention | unwindowed attention
linearattn: linear attention
attnsink: attention sink | sink token | attention sinks | sink tokens | attention sink token
register: register tokens | registers | memory tokens
valueresidual: value residual | v residual | value residuals | residual values | value residual learning
partialrope: partial rope | partial rotary | rotary fraction | rotate only half
rope: rotary | rotary embedding | rotary position embedding | rotary positional embedding
  | rotary position embeddings | rope embedding | rotary positional encoding | rotary position encoding
  | rotary encoding | rotary positions
bias: biases | bias terms | bias term | bias parameters | bias vectors | additive bias
linearlayer: linear layer | linear layers | linear projections | dense layer | dense layers | linear projection
logit: logits | output logits
gradient: grad | gradients | grads
tie: tying | tied | share | shared | reuse | weight sharing | weight tying | sharing | tie weights | share weights
  | tied weights | same matrix | same weights | same table | share matrix | shared weights | single matrix
  | share parameters | reuse weights | reusing
optlevel: optimization level | opt level
optimizer: optim | optimizer choice
activation: nonlinearity | non linearity | act | activation function | nonlinear activation | act fn | activations
schedule: scheduler | lr schedule | lr scheduler | learning rate schedule | sched | learning rate scheduler
  | lr curve | lr policy | lr shape
precision: dtype | data type | numeric precision | compute dtype | number format | datatype | compute type
augmentation: augment | data augmentation | augmentations
crop: random crop | random cropping | random resized crop | cropping
flip: horizontal flip | random flip | mirror | flips | mirroring | flipping | random horizontal flip
  | left right flip | horizontal flips
colorjitter: color jitter | colour jitter | color augmentation
cutout: cut out | random erasing
mixup: mix up
cutmix: cut mix
randaugment: rand augment | randaug
autoaugment: auto augment
pool: pooling
avgpool: global average pooling | average pooling | avg pool | gap | mean pooling | mean pool
maxpool: max pooling | max pool
cls: cls token | class token
squeeze: squeeze excite | squeeze and excitation | se block | squeeze excitation
conv: convolution | conv layers | convolutional | convolutions | conv layer
depthwise: depthwise conv | depthwise convolution | depthwise separable | short conv | short convolution
  | causal conv | causal conv1d
distill: distillation | knowledge distillation | teacher
lora: low rank adapter | adapter | low rank adapters
quant: quantization | quantize | quantized
prune: pruning | sparsity
doubleq: double dqn | double q learning | double q
dueling: dueling network | dueling dqn | duel
prioritized: prioritized replay | prioritized experience replay | per buffer
nstep: n step returns | multi step returns | n step | nstep returns | multi step
targetnet: target network | target net
framestack: frame stack | frame stacking | stack frames
obsnorm: standardize observations | whiten observations | running observation normalization
  | observation normalization | normalize observations | obs norm | observation norm | obs normalization
advnorm: standardize advantages | whiten advantages | advantage normalization | normalize advantages
  | advantage norm
rewardclip: reward clipping | clip rewards | clipped rewards
critic: value network | value function
actor: policy network | policy
index: indices | indexes
wal: write ahead log | write ahead logging
fsync: f sync
vacuum: autovacuum | auto vacuum
compression: compress | compressed | compressing
simd: vectorize | vectorization | avx2 | avx512 | avx | sse
lto: whole program optimization | cross module optimization | link time optimization | thin lto | flto
pgo: profile guided optimization | profile guided
fastmath: fast math | ffast math
mmap: memory map | memory mapped | memory mapping | memory mapped io
arena: bump allocator | arena allocator
parser: parse | parsing
string: strings
hash: hashing
sort: sorting
tokenizer: bpe | tokenization
shard: shards | sharding
previous: preceding token
peak: maximum
decay: decaying | decays
clip: clipping | clamp | clamping
cap: capping | squash | squashing
average: averaging | mean | avg
loss: losses | objective | cost
tail: final part
hidden: intermediate
output: outputs
input: inputs
position: positions | positional
orthogonal: orthogonalization | orthogonalize
penalty: regularizer | regularization | regularize | penalize
auxiliary: aux
branch: branches
concat: concatenate | concatenation
mix: mixing | blend | blending | interpolate | interpolation | inject | injection | reinject
lowrank: low rank | factorized | factorize
projection: projections | proj | projection matrix
data: training data | dataset
document: documents | doc | docs
label: labels
image: images | img | imgs
feature: features | columns
eval: evaluation | validation | inference | test time | val | at test time
encoder
decoder
teacher: teacher model
student: student model
read: reads
write: writes
client
server
state: states
action: actions
reward: rewards
target: targets
online: online net | online network
moment: moments | m and v buffers | m v buffers | moment estimate | optimizer state | optimizer states | m and v
  | moment buffers | adam state | adam states | optimizer moments | moment estimates
generator
discriminator
forward: forward pass
backward: backward pass
frame: frames
memory: ram
alibi: linear distance bias | linear biases | distance penalty | distance penalties | linear distance penalties
  | distance bias | linear attention biases
nope: no positional encoding | no position embeddings | no positional embeddings
recompute: recomputing | recomputed
coveringindex: covering index | index only | include columns | index only scan
prepared: prepared statements | prepared statement
bulk: bulk insert | batch insert | batched inserts | batch inserts | multi row insert
march: march native | native cpu | host cpu | native instruction set | cpu native | native architecture
zerocopy: zero copy
interning: intern | interned | string interning
noisynet: noisy networks | noisy nets
rmsnormgain: rmsnorm weights | rmsnorm gain | rmsnorm scale | layernorm gain
  | norm gains | norm gain | norm scale | norm weights | norm gamma
gain: gains
classweight: class weights | class weighting | class balanced
loadbalance: load balancing | load balancing loss | balance loss | balancing loss
crossentropy: cross entropy | ce loss | cross entropy loss | nll
"""

# One of a kind: choosing one gives up another. `slot: member = phrase, phrase | member ...`
CHOICES = """
activation: relu = rectified linear | relu2 = squared relu, relu squared, relu square, square relu, relusquared,
  sqrelu, squared relus | gelu = gaussian error linear | silu = swish, sigmoid linear | swiglu = swi glu, silu
  gated, gated silu, swish glu, swish gated | geglu = ge glu, gelu gated, gated gelu, gelu glu | reglu = re glu,
  gated relu | mish | elu | selu | leakyrelu = leaky relu | tanhact = tanh activation | softplus | hardswish = hard
  swish | prelu | glu = gated linear unit | star relu = starrelu
schedule: cosine = cosine decay, cosine schedule, cosine annealing, half cosine, cosine anneal, cosine lr decay,
  cosine curve | linear = straight line, linear decay, linear schedule, linearly,
  linear anneal | wsd = warmup constant decay,
  warmup hold decay, hold then decay, constant then decay, trapezoidal, warmup stable decay, trapezoid, trapezoidal
  schedule | sqrtdecay = sqrt decay, square root decay, 1 sqrt, sqrt cooldown, one minus sqrt, sqrt | invsqrt =
  inverse sqrt, inverse square root, rsqrt | exponential = exponential decay, exponentially | polynomial =
  polynomial decay, quadratic decay | constant = flat, constant lr | onecycle = one cycle, 1cycle | stepdecay = step
  decay, staircase, multistep, step schedule | cyclic = cyclical, triangular, restarts, warm restarts, sgdr
optimizer: adam | adamw = adam w | lion = sign momentum, sign of momentum, evolved sign momentum
  | sgd = plain sgd, vanilla sgd, stochastic gradient descent | muon | normuon
  = nor muon | adafactor | shampoo | soap | sophia | rmsprop = rms prop | nadam | radam | lamb | lars | adagrad |
  adan | prodigy | nadamw | schedulefree = schedule free | lbfgs
normtype: rmsnorm = rms norm, rms normalization, rms layernorm | layernorm = layer norm, ln, layer normalization |
  batchnorm = batch norm, bn, batch normalization | groupnorm = group norm, group normalization | dyt = dynamic tanh
  | instancenorm = instance norm | weightnorm = weight norm, weight normalization
precision: bf16 = bfloat16, brain float, bfloat | fp16 = float16, half precision, f16, half floats | fp32 = float32,
  full precision, single precision, f32 | fp8 = float8, f8 | tf32 | int8 = 8 bit, eight bit | fp64 = float64, double
  precision | int4 = 4 bit, four bit | fp4 = mxfp4 | mxfp8 | amp = mixed precision
initdist: xavier = glorot | kaiming = he init, he initialization | orthogonalinit = orthogonal init, orthogonal
  initialization | truncnormal = truncated normal, trunc normal | uniforminit = uniform init | mup = mu p, maximal
  update
optlevel: o0 | o1 | o2 | o3 | os | ofast
indextype: btree = b tree, b tree index, btree index | gin | gist | brin | hashindex = hash index
allocator: jemalloc | mimalloc | tcmalloc = tc malloc | malloc = system allocator
compressor: zstd = zstandard | lz4 | snappy | gzip | brotli
jointype: hashjoin = hash join | mergejoin = merge join | nestedloop = nested loop
lossfn: mse = mean squared error, l2 loss | mae = l1 loss, mean absolute error | huber = smooth l1 | focal = focal
  loss
treemethod: hist = histogram method, hist method | exactmethod = exact method | dart | goss
growth: depthwisegrowth = depthwise growth, level wise growth | leafwise = leaf wise, lossguide, leafwise growth
"""

# Words that narrow a change down: the same change with one of them more is a refinement.
# Parts that are only places or stuff: an idea is not told by one of these alone, as it is by "label smoothing".
PLACES = """
embedding unembedding matrix scalar mlp attention attnout attnoutput layer q k v kv qkv posembed residual norm gate
bias linearlayer logit gradient optimizer activation schedule precision augmentation pool conv critic actor index
compression string hash sort tokenizer shard previous peak decay clip cap average loss tail hidden output input
token position penalty auxiliary branch concat mix tie fused projection data document label image tree feature row
memory weight step eval encoder decoder teacher student read write client server kernel state action reward target
online source router parser moment buffers generator discriminator forward backward user item frame head query
"""

# Measures that many things have: a word beside them that nobody has heard of says whose, and cannot be overlooked.
SHARED = """
lr weightdecay eps init dropout buffer cache chunk threads timeout retries queuedepth poolsize kernel stride tokens
temperature lossweight rank topk width lossscale patch vocab
"""

MARKS = """
first: early | earliest | initial layers | beginning | bottom layers | lower layers | start of training | first half
  | early layers | first part | front
last: final | top layers | late | later layers | latter | second half | upper layers | end of training | last half
  | deepest | later half | back half | back layers
middle: mid | central | inner layers
odd: odd numbered
even: even numbered
least: min | minimum
alternate: every other | every second | alternating | interleave | interleaved | every 2nd | alternately
all: every | everywhere | throughout | anywhere
learnable: learned | trainable | learnt | learn | unfreeze | unfrozen | parametric | learned parameter
adaptive: dynamic | dynamically | adaptively
progressive: gradually | gradual | progressively | curriculum style | over time | growing over training
scheduled: on schedule
before: in front of | prior to | ahead of | preceding | upstream of
after: following | behind | downstream of | past
during: while training
per
between: in between
across
inside: within
outside
except: apart from | but not | all but
separate: separately | independent | independently | individual | own | dedicated
random: randomly | stochastic
fixed: do not learn | not learned | not learnable | non learnable | do not update | frozen
  | freeze | static | no updates | not updated | stop updating | without updates | no gradient updates
  | untrained | do not train | not trained
causal
global
local
decoupled
smooth
hard: harder
soft: softer
two stage: two phase | 2 phase | two staged
until: up to step | through step
adjacent: neighbouring | neighboring | consecutive
conditional: depending on
layerwise: layer wise | layer dependent | depth dependent
headwise: head wise
channelwise: channel wise
tokenwise: token wise
group: groups | grouped | param group
async: asynchronous | asynchronously
sync: synchronous
sequential: sequentially | in sequence
parallel: in parallel | parallelize | side by side | concurrently | concurrent
nonzero: non zero
squared: square
reverse: reversed | backwards | inverted
clipped
delayed: delay | late start
annealed: anneal | anneals | decayed
selective: selectively
partial: partially
inverse: inversely
sparse: sparsely
hybrid
warm: warmed
cosine shaped: cosine shape
"""

# What goes without saying beside a concept. `concept: words that add nothing to it`
IMPLIED = """
k: attention
q: attention
v: attention
rmsnormgain: norm normtype gain perwidth rmsnorm layernorm
attnsink: attention token learnable
topk: router experts
eps: adam adamw optimizer group
sharedbuffers: memory
buffer: parser memory
workmem: memory sort
cache: entry item memory
fusedqkv: single projection matmul linear one produc linearlayer
posembed: embedding position absolut tabl pos table input vector
warmup: lr schedule ratio step linear period iteration peak trainsteps loss last first all
warmdown: lr schedule ratio step period tail last iteration linear trainsteps decay finalstretch schedulelast
finallr: linear lr warmdown decay peak schedule last floor end tail
  annealed
lr: peak optimizer global
momentum: muon sgd optimizer
unembedding: vocab output token
kv: projection k v
precision: quant matmul multiplication product gemm compute type
depth: ntrees tree layer stack
earlystop: round improvement stop epochs validation eval
weightdecay: l2 penalty optimizer weight decay loss all parameter
beta1: adam adamw optimizer momentum group
beta2: adam adamw optimizer group
betas: adam adamw optimizer group
nesterov: ball heavy momentum sgd muon optimizer step update
gradclip: norm gradient global clip all local step update optimizer
accumulation: gradient step batch optimizer update devicebatch microbatch micro
batch: row sequence seqlen token step total trainsteps tokens global accumulationless optimizer
devicebatch: row sequence seqlen batch local device
seqlen: token window position tokens
heads: attention q
kvheads: attention gqa heads kv k v q tie across all group
headdim: attention heads width per q k v
mlpratio: mlp hidden width scale layer
window: layer attention seqlen local tokens context each
windowpattern: pattern window attention layer
softcap: before pre scor layer logit tanhact output cap unembedding soft last clip clipped scale softmax
  tanh
  attentionless model final squash crossentropy loss raw
zloss: auxiliary logit loss penalty lossweight softmax weight squared soft output unembedding
labelsmooth: eps label loss crossentropy smooth target output softmax logit vocab
ema: weight average decay parameter eval running step teacher model all weights
swa: weight average
nssteps: muon step iteration orthogonal update orthogonalization optimizer
ropebase: rope position scale attention all layer q k
rope: position embedding attention posembed q k all layer
partialrope: rope
init: scale weight normal start
dropout: penalty random layer
droppath: layer random residual dropout during skip branch
qknorm: before dot product score attention norm q k normtype rmsnorm perhead heads head layer
prenorm: norm residual layer before
postnorm: norm residual layer after
sandwichnorm: norm layer before after all prenorm postnorm
finalnorm: norm last unembedding before output
embednorm: norm embedding input after output before layer first token
tieembeddings: embedding unembedding tie weight input output between as matrix single token vocab separate
untieembeddings: embedding unembedding tie weight input output between as matrix token vocab separate
x0: init start residual embedding input layer mix scale scalar all residlambda per stream token add
residlambda: init residual layer scale scalar per all stream
unet: residual layer first last between
valueembed: v embedding attention token tabl table perlayer layer gate add
valueresidual: residual v attention first layer all mix last value
tokenshift: mix token previous tokens before layer attention all
mtp: loss auxiliary token tokens extra heads output next futur predict after step additional second target
docmask: layer attention mask across between token document boundary packing inside boundari tokens own
moe: mlp mixture layer sparse router all
experts: moe mlp mixture layer sparse
gqa: attention kv heads group layer all
parallelblock: norm input same attention mlp layer residual parallel branch all sequential output sum
flashattn: attention kernel fused
checkpointing: activation gradient memory recompute backward forward stor layer
attnscale: attention softmax logit scale temperature q k
mlp: layer hidden network sublayer
attention: layer sublayer
attnout: attention output layer
activation: gate mlp hidden layer branch
schedule: lr warmdown decay tail learning warmupless last peak annealed progress
optimizer: algorithm update parameter matrix
normtype: norm
initdist: init weight matrix random all linearlayer layer
valueclip: clip
mixup: augmentation random pair label image alpha exampl data
doubleq: action target targetnet online pick select evaluat argmax network net
cutmix: augmentation
cutout: augmentation
flip: augmentation random
crop: augmentation random
randaugment: augmentation
colorjitter: augmentation
vocab: tokens token embedding
subsample: ntrees row data tree
colsample: ntrees feature tree column
alibi: attention position linear distance scor score bias penalty
squeeze: gate channel width attention pool layer residual avgpool mlp
layerscale: residual scale branch perwidth init gain layer output
zeroinit: init zero start weight
  all
residualproj: residual output projection layer branch all
fullattn: windowpattern all attention window global layer seqlen
logitscale: logit output scale unembedding learnable
cautious: update optimizer muon adam adamw mask sign gradient
cautiouswd: cautious mask update optimizer muon adam adamw weightdecay
amsgrad: adam adamw optimizer moment
biascorrection: adam adamw optimizer moment
layer: depth
steady: constant fixed
moment: optimizer adam adamw buffer buffers state
march: build cpu host native nativ own separate compile
lengthorder: document data order sort token curriculum feed
curriculum: data order sort document
avgpool: pool average
maxpool: pool
shuffle: all epochs start shard data order random document
packing: sequence document
ntrees: tree boosting
replay: memory buffer
nenvs: parallel
targetupdate: targetnet
discount: reward future
entropy: policy actor penalty loss
ppoclip: eps policy actor clip
threads: parser parallel worker
outputgate: gate output attention layer sigmoid heads
bias: linearlayer linear layer term projection
trainsteps: step iteration
resolution: image input
aspect: model depth layer
fastmath: compile compiler flag
optlevel: compile compiler flag optimization
lto: compile compiler flag linker optimization
pgo: compile compiler flag optimization
inlining: compiler
unroll: loop compiler
simd: loop instruction
fsync: disk
attnoutput: attention output
labelnoise: loss
"""

# Concepts that together are another one, whatever stands between them. `these = that`, the first fitting line counts.
FUSIONS = """
gain qknorm = attnscale
gain q k = attnscale
gain norm = rmsnormgain
attention gate = outputgate
perheads temperature = attnscale perheads
muon weightdecay = matrix weightdecay
gain normtype = rmsnormgain
before after norm = sandwichnorm
before after normtype = sandwichnorm
perlayer width = aspect
logit multiplier = logitscale
logit scale = logitscale
muon lr = matrix lr
muon betas = muon momentum
heads lr = unembedding lr
residlambda lr = residual lr
matrix weightdecay muon = matrix weightdecay
cap logit = softcap
clip logit = softcap
tanh logit = softcap
clip gradient = gradclip
cap gradient norm = gradclip
gradient norm = gradclip
decay weight = weightdecay
smooth label = labelsmooth
dim heads = headdim
width heads = headdim
size heads = headdim
hidden mlp = mlpratio
width mlp = mlpratio
mlp expansion = mlpratio
rope base = ropebase
rope frequency = ropebase
kv heads = kvheads
kv share = kvheads
residual embedding = x0
mix embedding residual = x0
mix embedding input = x0
mix x0 = x0
norm q k = qknorm
qknorm norm = qknorm
parallel attention mlp = parallelblock
tie embedding unembedding = tieembeddings
tie embedding output = tieembeddings
tie embedding input = tieembeddings
tie unembedding = tieembeddings
as embedding unembedding = tieembeddings
separate embedding unembedding = untieembeddings
separate unembedding = untieembeddings
tie embedding = tieembeddings
average weight = ema
decay warmdown = warmdown
gate attnoutput = attention outputgate
gate attention output = attention outputgate
loss auxiliary z = zloss
order data random = shuffle
randomiz order = shuffle
random order = shuffle
linearlayer qkv = fusedqkv
document mask = docmask
document shuffle = shuffle
experts moe = experts
squared relu = relu2
attention window = window
dropout layer drop = droppath
droppath random layer skip = droppath
random residual skip = droppath
random layer residual skip = droppath
recompute activation = checkpointing
recompute backward = checkpointing
predict token after = mtp
predict token futur = mtp
predict two token = mtp
predict token ahead = mtp
argmax target online = doubleq
argmax online = doubleq
label image mix = mixup
label exampl mix = mixup
image mix = mixup
pair mix = mixup
erase patch = cutout
mask patch image = cutout
eras squar = cutout
past patch = cutmix
width gate avgpool = squeeze
width gate pool = squeeze
distanc penalty = alibi
distanc bias = alibi
linear distanc = alibi
learnable position embedding = posembed learnable
learnable position = posembed learnable
learnable posembed absolut = posembed learnable
norm before layer = prenorm
norm after residual = postnorm
normtype before layer = prenorm
normtype after residual = postnorm
norm after layer = postnorm
q k v fused = fusedqkv
qkv fused = fusedqkv
k q v linear = fusedqkv
q k v projection = fusedqkv
qkv projection = fusedqkv
sampl feature ntrees = colsample
feature ntrees = colsample
sampl row ntrees = subsample
row ntrees = subsample
attention mlp same input = parallelblock
decoupl weightdecay = adamw
decoupled weightdecay = adamw
learnable scale residual = layerscale
learnable perwidth residual = layerscale
perwidth scale residual = layerscale
length data order = lengthorder
length document order = lengthorder
length document sort = lengthorder
length sort = lengthorder
short long sort = lengthorder
logsumexp squared = zloss
penalty logsumexp = zloss
previous token mix = tokenshift
group q share kv = gqa
tie q kv = gqa
index includ = coveringindex
update batch = batch
random layer residual = droppath
same input attention mlp = parallelblock
norm before unembedding = finalnorm
norm after embedding = embednorm
norm embedding = embednorm
residual unembedding = attnout
soft label = labelsmooth
targetnet update = targetupdate
stack frame = framestack
soft target = labelsmooth
penalty norm softmax = zloss
logsumexp = zloss
average parameter = ema
average checkpoint = swa
residual encoder decoder = unet
norm input layer = prenorm
norm output layer = postnorm
norm residual after = postnorm
td error = prioritized
token previous average = tokenshift
token previous concat = tokenshift
standardiz advantag = advnorm
recomput activation = checkpointing
"""

# Marks that exclude each other: the one for the other is the opposite.
EXCLUSIVE = """
fixed learnable, before after, first last, local global, hard soft, async sync, parallel sequential, curriculum
anticurriculum, annealed steady, prenorm postnorm, learnable fixed
"""

# Parameters: that they are learnt goes without saying, but where they are frozen.
LEARNT = "residlambda rmsnormgain layerscale x0"

UP = """
increase raise higher more larger bigger greater longer extend lengthen boost bump grow enlarge up stronger faster
strengthen heavier upscale loosen looser expand crank uplift elevate upward taller slower_decay amplify widen wider
deepen deeper thicker fatter broaden broader highest largest longest maximize up_from inflate enhance intensify push
step_up scale_up ramp_more stretch prolong elongate
"""
DOWN = """
decrease lower reduce less fewer smaller shorter shorten shrink narrow narrower shallower cut down weaker slower
tighten tighter lighter diminish downscale lessen trim weaken gentler thinner slim drop_to squeeze smallest lowest
shortest minimize scale_down reduction step_down dial_back tone_down back_off soften lowering downward compress_to
abbreviate pull_back tame thin
"""
ON = """
enable add introduce insert include turn_on activate switch_on bring_back reintroduce restore reinstate reenable
attach incorporate append re_enable install re_add readd put_back re_introduce with_added adopt
"""
OFF = """
stop untie unshare excluding disable remove drop delete without eliminate omit no exclude ablate strip get_rid_of
turn_off switch_off w_o not discard dont do_not stop_using kill deactivate never none zero_out removal take_out
rip_out stop no_longer never_use throw_out throw_away ditch scrap turn_of avoid_using
leave_out skip nix do_away_with no_longer_use no_more
cease_using abandon rid take_away
"""
OFF_TAILS = "off false none disabled removed null"  # behind what they switch
ON_TAILS = "on true enabled yes"
SWITCH = """
replace swap substitute exchange switch change convert migrate move transition
"""

# Verbs and comparatives that name what they move, when nothing else does.
# A choice beside a gate is the gated one.
GATED = {"silu": "swiglu", "gelu": "geglu", "relu": "reglu"}

HINTS = {
    "deeper": "depth", "deepen": "depth", "shallower": "depth", "wider": "width", "widen": "width", "narrower": "width",
    "narrow": "width", "thinner": "width",
}  # fmt: skip

FACTORS = """
double 2 triple 3 quadruple 4 quintuple 5 halve 0.5 twice 2 thrice 3 twofold 2 threefold 3 fourfold 4 fivefold 5
tenfold 10 octuple 8
"""
FRACTIONS = "half 0.5 third 0.333333333 quarter 0.25 fifth 0.2 tenth 0.1 eighth 0.125 sixth 0.166666667"
NUMBERS = """
zero 0 one 1 two 2 three 3 four 4 five 5 six 6 seven 7 eight 8 nine 9 ten 10 eleven 11 twelve 12 sixteen 16 twenty
20 thirty 30 forty 40 fifty 50 sixty 60 seventy 70 eighty 80 ninety 90 hundred 100 thousand 1000 single 1 dozen 12
fifteen 15
"""

# Measures: they say that an amount is meant, which a number says too.
MEASURES = """
update weight weights scale scaling multiplier rescale size number count amount value ratio fraction frac factor
coefficient coef coeff strength rate probability prob parameter param setting level threshold limit length magnitude
hyperparameter constant num n total overall percent percentage share proportion portion max maximum quantity dim
dimension weighting unit
"""

FILLERS = """
bring brings carry carries drive drives makes hold_at
pass feed feeds send flow flows come comes came receive receives enter entering hand hands
turn ones from_start from_the_start from_first_step from_step_0 from_step_zero of_run over_run throughout_training
over_training of_training during_training for_training in_training all_along whole_run of_update present practice
allthe_time constantly_on per_update
high low large small big long tall fast optimize optimized optimizing all_way most store stored storing each umm um
cover covers covering span spans
hmm well json parser ppo dqn sac td3 a2c a3c xgboost xgb lightgbm lgbm catboost gbm gbdt gbt resnet vit cnn convnet
gpt llama bert postgres postgresql mysql sqlite rocksdb redis gcc clang llvm rustc pytorch torch nn jax palm gemma
llm lm chinchilla modded nanogpt only solely exclusively also once single a an the of to in on at by for from as is
are be it its into this that these those we will our us use using used set try trying test change make making model
network transformer training train run running let lets let's just please maybe again slightly bit little somewhat
very really simply basically now here then there so too quick simple give given giving have has having had put
placing place placed apply applied applying employ go going do does did doing want would could should can may might
need needs needed my your his her their them they he she you i and or but if while when where which who whom what
how why than such same one's via new old current currently existing default baseline original originally previous
value's standard usual normal regular plain vanilla instead rather keep keeping kept retain leave allow allows
allowing get gets getting got take taking takes see look run's runs experiment experiments idea ablation study sweep
version variant variants option config configuration setup code file script actually probably perhaps likely finally
further even still yet much many lot lots few any some other another both either neither exactly directly properly
fully entirely completely essentially effectively roughly approximately approx about around circa nearly almost way
ways thing things kind type style based approach method technique trick scheme strategy mechanism attempt explore
exploring evaluate check verify start starts starting begin begins beginning end ends ending retune tune tuning
tuned fine adjust adjusted adjusting adjustment modify modified modification updating aggressive aggressively
conservative conservatively modest modestly moderate moderately mild mildly strong light heavy everything whole
entire because since due thanks up-to good nice bigly per_se respectively i.e e.g eg ie etc vs time times
computation compute implementation implement implemented implementing form feature support logic step's been being
over under out off-the-shelf through onto upon toward towards within_reason against beyond behind across_board
altogether combine combined combination together pair paired set_up set-up worth amount's choose choosing pick
picking select opt prefer preferring consider considering introduce's instead_of shape curve parameters's layerstack
architecture arch ought must shall today tonight tomorrow final_answer okay ok hey hi pls plz gonna wanna called
named known denoted defined definition meaning means mean's force forcing forced enforce scale's steps's each's
that's it's don's
"""

RESULTS = """
worse better best improve improved improvement improves regress regressed regression diverge diverged divergence
crash crashed oom failed fail fails failing failure unstable plateau neutral killed marginal marginally badly
catastrophic catastrophically bad hurts hurt helps helped help helpful win wins winner discard discarded keeper
promising noisy inconclusive baseline rerun repro reproduce reproduced retry retest slow timeouted exploded explode
explodes nan spike spiked spikes saturated stalled stable optimal suboptimal sweet spot record sota flat_result gain
gains gained lost losing loses good great awful terrible
"""

# Techniques by what is said of them where their name is not: `name: words | words ...`. Words of one alternative stand
# near each other in any order; "no" in front of a name is said of what is not there.
DEFINITIONS = """
tieembeddings: unembedding = embedding | one matrix embedding unembedding | same matrix embedding unembedding
  | single matrix embedding unembedding | embedding unembedding one table | transpose embedding unembedding
  | one table for both input and output | embedding unembedding common matrix | embedding as unembedding
  | embedding serve unembedding | embedding for both ends | embedding transposed logit
  | logit from embedding matrix
untieembeddings: embedding unembedding separate | embedding unembedding own | embedding unembedding independent
  | embedding unembedding different matrices | embedding unembedding distinct | embedding unembedding decouple
softcap: squash logit | logit tanh | bound logit | bounded logit | limit logit smoothly | saturate logit | tanh scores
no softcap: raw logit | unbounded logit | logit uncapped | logit unsquashed | linear logit | logit unsaturated
qknorm: unit length q k | k q rmsnorm | unit norm q k | rms normalise q k | normalise q k | q k normtype
  | l2 normalise q k | normalise q k per head | q k hypersphere | cosine similarity attention scores
  | cosine similarity attention
no qknorm: unnormalised q k | raw q k | q k without norm
valueembed: embedding mixed into attention values | embedding added to attention values | embedding table into v
  | token dependent v | embedding lookup added to v
valueresidual: mix first layer v | mix first values | blend first layer v
x0: !embedding reinject | input embedding into stream every block | initial embedding residual
  | add input embedding to residual stream | skip embedding layer | skip embedding block | embedding shortcut block
unet: connect first last layer | connect first last layer skip | skip encoder half decoder half
  | first layer output added last layer
layerscale: learnable per channel scale on residual branch | learned vector multiplies each branch output
  | learnable branch output scale
residlambda: learned scalar residual stream each layer | learnable multiplier residual per layer
  | learned weights residual stream
depthscaled residual: divide residual branch by sqrt depth | scale branch output by sqrt depth
  | branch outputs shrink with depth | shrink residual init with depth
relu2: square output relu | relu followed by square | relu then square | relu squared output | squared relu
swiglu: gate mlp silu | silu gate ffn branch | silu gate multiply | swish gate mlp | silu times linear branch
  | mlp gated by silu | gated silu
geglu: gate mlp gelu | gelu gate multiply | mlp gated by gelu
reglu: gate mlp relu | mlp gated by relu
kvheads 1: one kv head all query heads | single kv head | share one k v all heads | share single k v head
  | one key value head | all heads same k v | all query heads share kv | one set of k v for all heads
gqa: several query heads share kv | query heads share k v pairs | group query heads sharing kv heads
window: attend last tokens | attend nearby tokens | attend recent tokens | attend to local neighbourhood
  | attention limited recent tokens | restrict attention to recent tokens | attention restricted to nearby tokens
  | look back tokens only
fullattn: all layer full sequence | layer full sequence attention | attend to whole context | attend entire context
  | attention over full context | attend all previous tokens | attend to all earlier tokens
  | attention over entire sequence | attention over whole sequence | unrestricted attention
  | attention global every layer | unlimited window | window equal sequence length
fullattn: longwindow everywhere
no rope: no position information | drop position encodings | without position encoding | position agnostic
  | no explicit position encoding
partialrope: rope half head dims | rope quarter head dims | rotate part of head dims | rope half dimensions
  | rotary subset of dimensions | rotary on part of head | rope fraction of head dims | rotate half of head dims
  | rope on half of channels
alibi: linear distance penalty attention score | penalise attention by distance | linear bias distance attention
  | attention score decreasing with distance | distance proportional bias
prenorm: normalise input of each sublayer | norm at the input of every sublayer | norm before each sublayer
  | normalise before sublayer | norm sublayer input
postnorm: norm after residual addition | normalise after the residual sum | normalise after the addition
  | norm residual after | normalise residual sum | norm after adding sublayer output | norm after each residual add
sandwichnorm: norm before and after each sublayer | norm input and output each sublayer
  | norm on both sides of sublayer
rmsnormgain: learnable gain norm | rmsnorm learnable scale | rmsnorm learnable weight
  | rmsnorm learnable gain | rmsnorm per channel gain | rmsnorm weight vector | norm learnable per channel scale
   | norm affine weights | learnable norm gain per channel
no rmsnormgain: norm without learnable gain | weightless norm | norm without learnable scale
  | non parametric norm | parameterless norm
no embednorm: raw embedding first layer | unnormalised embedding | raw token embeddings into block
embednorm: norm token embedding before first block | normalise embedding output | norm right after embedding
  | norm embedding before first layer | normalise embedding before entering blocks | embedding rms normalised
finalnorm: norm before the unembedding | norm final hidden before logits | norm last hidden state before unembedding
zloss: penalise log partition | squared log partition | keep log normaliser near zero
  | penalise log softmax normaliser | squared log of softmax normaliser | penalise squared log sum exp
  | log z squared | log sum exp squared penalty | softmax normaliser penalty | penalise large logits | squared lse
labelsmooth: target mass uniformly | mass uniform target | mass spread over other tokens target | uniform target mix
  | target uniform distribution | probability mass spread other tokens | smooth target | target mass other tokens
  | label mass vocabulary | soften one hot | mass to wrong tokens | smooth one hot | mix one hot with uniform
dropout attention: zero attention weights random | drop attention weights random
  | attention probabilities dropped random
dropout: randomly zero activations | zero activation random | randomly drop units | drop hidden units random
droppath: skip whole layers random | drop layers random | random skip block | bypass blocks random
ema: exponential average weights | moving average parameters | moving average weights | averaged weights eval
  | shadow weights | exponential average parameters | running average parameters | slow copy of weights
swa: average checkpoints | mean of last checkpoints | average last checkpoints | average weights at end
no accumulation: one microbatch per step | one microbatch per update | single microbatch per step
  | one forward pass per step | one forward backward per optimizer step
accumulation: sum gradients over micro batches before each step | gradients over several micro batches per step
  | several micro batches per update | several forward backward passes per optimizer step
gradclip: cap gradient norm | limit gradient norm | bound gradient norm | rescale gradients norm exceeds
  | gradient norm at most | gradient norm ceiling | scale down gradients norm | gradients whose norm exceeds
nesterov: look ahead momentum | gradient at lookahead point | momentum lookahead
no nesterov: heavyball momentum
nssteps: orthogonalise update iterations | orthogonalisation iterations | polar iterations muon
adamw: decouple weight decay gradient adam | decoupled weight decay adam | weight decay outside adam moments
  | apply weight decay separately from adaptive update
no biascorrection: uncorrected moments | raw moments without correction | skip moment correction
biascorrection: correct moment estimates early steps | unbias moments
amsgrad: running maximum second moment | maximum second moment | max of past second moments
cautious: mask updates sign gradient | mask updates disagree gradient | update only where sign agrees
  | zero update components gradient sign | skip coordinates sign disagree
  | only apply updates that agree with gradient
cautiouswd: weight decay only where update agrees | mask weight decay sign | mask weight decay update
  | !cautious masking weight decay | decay only same sign | weight decay sign agree
cosine lr schedule: half cosine | !cosine shaped decay | !cosine shaped lr | !cosine shaped warmdown
  | half a cosine | cosine curve lr | lr along cosine
  | cosine shape lr | cosine instead of linear lr | half period cosine
sqrtdecay schedule: one minus sqrt | minus square root progress | square root shaped decay | sqrt shaped cooldown
  | one minus square root | square root warmdown | square root cooldown
wsd lr schedule: warmup hold lr then decay | warmup constant decay | hold lr constant then decay
  | constant then linear decay | warmup hold decay | flat then decay | plateau then decay | warmup stable decay
  | trapezoid lr | lr plateau warmdown
cyclic lr schedule: restart lr periodically | lr restarts | cosine with restarts | warm restart
invsqrt lr schedule: lr one over sqrt step | lr inverse square root | lr proportional inverse sqrt
exponential lr schedule: lr geometric decay | lr decays geometrically | lr multiply constant each step
mup lr: lr inversely with width | lr inversely proportional width | lr transfer across widths
attnscale: attention scores divided by head dim | scale attention by head dim | divide qk by headdim
orthogonalinit: !initialise orthogonal matrices | init random orthogonal | start orthogonal matrices
  | orthonormal init | initialise orthonormal | weights start orthogonal
xavier: init variance fan in fan out | variance scaled by fan in and fan out
zeroinit residualproj: residualproj start zero | !residualproj zero | residual branches start zero
  | branch outputs start zero | block starts identity | layer begins identity | attnout mlp zeroinit
  | attnout mlp start zero | attnout mlp zero | every block identity at initialization
  | attention mlp unembedding zero | attention mlp unembedding zeroinit | layer starts as identity
  | no contribution of blocks at start
zeroinit unembedding: !unembedding start zero | !logits start zero | unembedding zero at start
  | uniform predictions at start
fp8 unembedding: unembedding matmul 8 bit | unembedding matmul fp8 | logits in 8 bit
fp8: 8 bit float matmul | eight bit floats | fp8 matrix multiplications
mtp: predict two tokens ahead | also predict next next token | predict token after next
  | predict several future tokens | additional head second next token | predict next two tokens
tokenshift: shift channels one token | half channels previous position | mix token previous
  | combine token with predecessor
  | token previous channels | shift half channels one position | channels from previous position
  | average token previous | mix previous position
parallelblock: attention mlp same input | attention mlp same input sum | attention mlp side by side
  | attention mlp at once | attention mlp simultaneously | attention beside mlp | attention mlp concurrently
  | attention mlp share norm | mlp reads attention input | attention mlp parallel | attention mlp read same
  | mlp not wait for attention | sum attention mlp outputs same
experts , topk 1: experts one picked per token | experts one routed token | each token one expert
  | token single expert | one active expert per token
experts , topk 2: experts two picked per token | each token two experts | two active experts per token
moe: replace mlp with experts router | several experts router | router sends token expert | sparse expert mlp
  | token routed expert mlp
docmask: attention not cross documents | attend only same document | no attention across documents
  | attention within document | tokens see own document | stop attention at document boundaries
  | attention own document
outputgate attention: !gate attention output | gate attention output sigmoid | sigmoid gate attention output
  | multiply attention output gate | sigmoid gate heads | gate heads sigmoid | attention output gate
logitscale: multiply logits constant | scale logits | logits times constant | divide logits
attnsink: learnable null key every query | learnable token every query attend | extra slot softmax attend nothing
  | softmax extra denominator | off by one softmax | attend to nothing
bf16 moment: !moments bf16 | momentum buffers bf16 | optimizer state bf16
checkpointing: recompute activations backward | forget activations recompute | activations recomputed backward
mla: compress kv latent | low rank kv compression | kv low rank latent
window progressive: window grows during training | grow window training | widen window as training progresses
  | window growing over training
batch progressive: batch grows during training | grow batch training | batch ramp | ramp batch size
  | batch size warmup | start small batch grow
lengthorder: short sequences first then long | grow sequence length training
"""
