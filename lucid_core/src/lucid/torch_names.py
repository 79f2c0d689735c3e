"""Names of PyTorch, torchvision and timm that Lucid lacks, with hints.

:mod:`lucid.hints` adds them to error messages, the migration page prints them, and the tests
run the code in backticks.  A hint that begins with a backtick is code to use instead of the
name; any other is a sentence.
"""

from __future__ import annotations

__all__ = ["ATTRIBUTES", "KEYWORDS", "KEYWORDS_OF", "ORIGINS", "ORIGINS_OF", "POSITIONS"]

_CPU = "leave it out: Lucid computes on the CPU"
_COMPILED = "leave it out: kernels are compiled when they are first called"
_THREADS = "leave it out: kernels use every core; `lucid.set_num_threads(4)` sets how many"
_IMAGES = "not in Lucid, which has layers for images"
_OTHER_OPTIMIZER = "not in Lucid; `lucid.optim.AdamW(params)` is the nearest"
_OTHER_ACTIVATION = "not in Lucid; call functions such as `lucid.exp(x)` in a `forward` of your own"
_NO_SUCH_TASK = "not in Lucid; `lucid.models.list_models()` lists the models"
_ORDER = "not in Lucid; give the order as `lucid.data.Subset(dataset, [2, 0, 1])`"
_WEIGHTS = 'load weights as in `lucid.models.create_model("resnet_50", weights="default")`'
_BACKBONE_WEIGHTS = (
    "load weights into the backbone: "
    '`lucid.weights.load_weights(model.backbone.net, lucid.weights.fetch("resnet_50"))`'
)
_WEIGHT_TAGS = (
    'give the tag as create_model("resnet_50", weights="imagenet1k_v2"); '
    '`lucid.weights.list_weights("resnet_50")` lists the tags'
)

#: PyTorch's prefix of the names in each table of ATTRIBUTES.
ORIGINS = {
    "lucid": "torch",
    "Tensor": "x",
    "lucid.nn": "torch.nn",
    "Module": "model",
    "lucid.nn.functional": "F",
    "lucid.nn.utils": "torch.nn.utils",
    "lucid.autograd": "torch.autograd",
    "lucid.optim": "torch.optim",
    "lucid.optim.lr_scheduler": "lr_scheduler",
    "lucid.data": "torch.utils.data",
    "lucid.random": "torch.random",
    "Generator": "generator",
    "lucid.models": "torchvision.models",
    "lucid.vision": "torchvision",
    "lucid.vision.transforms": "torchvision.transforms",
}

#: Exceptions: names with another prefix.
ORIGINS_OF = {
    ("lucid", "create_model"): "timm",
    ("lucid", "list_models"): "timm",
    ("lucid", "mps"): "torch.backends",
}


def _same(hint: str, names: str) -> dict[str, str]:
    """One hint for several names, separated by blanks."""
    return dict.fromkeys(names.split(), hint)


#: Names that both ``torch`` and its tensors have.
_BOTH = {
    "is_floating_point": '`x.dtype.kind == "f"`',
    "numel": "`x.size`",
    "mm": "`x @ y.T`",
    "bmm": "`x @ y.T`",
    "mul": "`x * y`",
    "sub": "`x - y`",
    "div": "`x / y`",
    "neg": "`-x`",
    "eq": "`x == y`",
    "ne": "`x != y`",
    "lt": "`x < y`",
    "le": "`x <= y`",
    "gt": "`x > y`",
    "ge": "`x >= y`",
    "rsqrt": "`x ** -0.5`",
    "t": "`x.T`",
    "swapaxes": "`x.transpose(0, 1)`",
    "movedim": "`lucid.moveaxis(x, 0, 1)`",
    "index_select": "`x[index]`",
    "masked_select": "`x[mask]`",
    "masked_fill": "`lucid.where(mask, 0.0, x)`",
    "unbind": "`list(x)`",
    "allclose": "`numpy.allclose(x, y)`",
    "median": "`numpy.median(x)`",
    "dot": "`x[0] @ y[0]`",
    "mv": "`x @ y[0]`",
    "nan_to_num": "`lucid.where(lucid.isnan(x), 0.0, x)`",
    "narrow": "`x[:, 1:3]`",
    "select": "`x[:, 1]`",
}

#: Hints for missing names, by module or class.
ATTRIBUTES: dict[str, dict[str, str]] = {
    "lucid": {
        **_BOTH,
        **_same(_CPU, "device cuda mps backends"),
        **_same("`lucid.concatenate([x, y], axis=0)`", "cat concat vstack"),
        **_same("`lucid.random.seed(0)`", "manual_seed seed initial_seed"),
        "hstack": "`lucid.concatenate([x, y], axis=1)`",
        "clamp": "`lucid.clip(x, 0, 1)`",
        "randn": "`lucid.random.randn(2, 3)`",
        "rand": "`lucid.random.rand(2, 3)`",
        "randint": "`lucid.random.randint(0, 10, (2, 3))`",
        "randperm": "`lucid.random.permutation(10)`",
        "randn_like": "`lucid.random.randn(*x.shape)`",
        "rand_like": "`lucid.random.rand(*x.shape)`",
        "multinomial": "`lucid.random.choice(10, 3)`",
        "Generator": "`lucid.random.Generator(0)`",
        "inference_mode": "`lucid.no_grad()`",
        "autocast": "leave it out: tensors are float32",
        "amp": "leave it out: tensors are float32",
        "compile": _COMPILED,
        "jit": _COMPILED,
        "float": "`lucid.float32`",
        "double": "`lucid.float64`",
        "half": "`lucid.float16`",
        "long": "`lucid.int64`",
        "int": "`lucid.int32`",
        "bool": "`lucid.bool_`",
        "bfloat16": "`lucid.float32`",
        "FloatTensor": '`lucid.tensor([1, 2], dtype="float32")`',
        "LongTensor": '`lucid.tensor([1, 2], dtype="int64")`',
        "is_tensor": "`isinstance(x, lucid.Tensor)`",
        "amax": "`lucid.max(x, axis=1)`",
        "amin": "`lucid.min(x, axis=1)`",
        "isclose": "`numpy.isclose(x, y)`",
        "meshgrid": "`numpy.meshgrid([0, 1], [0, 1])`",
        "pi": "`numpy.pi`",
        "inf": "`numpy.inf`",
        "nan": "`numpy.nan`",
        "finfo": '`numpy.finfo("float32")`',
        "dtype": '`numpy.dtype("float32")`',
        "Size": "`tuple`",
        "utils": "`lucid.data` (for `torch.utils.data`)",
        "set_default_dtype": "leave it out: float32 is the default",
        "hub": "published weights are listed by `lucid.weights.list_weights()`",
        "create_model": '`lucid.models.create_model("resnet_50")`',
        "list_models": '`lucid.models.list_models("resnet_*")`',
        "vdot": "`x[0] @ y[0]`",
        "outer": "`x[0][:, None] * y[0]`",
        "addmm": "`x + x @ (y.T @ y)`",
        "addcmul": "`x + x * y`",
        "lerp": "`x + 0.5 * (y - x)`",
        "true_divide": "`x / y`",
        "fmod": "`numpy.fmod(x, y)`",
        "atan2": "`numpy.arctan2(x, y)`",
        "log1p": "`lucid.log(1 + x)`",
        "expm1": "`lucid.exp(x) - 1`",
        "log2": "`lucid.log(x) / numpy.log(2)`",
        "log10": "`lucid.log(x) / numpy.log(10)`",
        "sinh": "`(lucid.exp(x) - lucid.exp(-x)) / 2`",
        "cosh": "`(lucid.exp(x) + lucid.exp(-x)) / 2`",
        "asin": "`numpy.arcsin(x)`",
        "acos": "`numpy.arccos(x)`",
        "atan": "`numpy.arctan(x)`",
        "diag": "`x[[0, 1], [0, 1]]`",
        "diagonal": "`x[[0, 1], [0, 1]]`",
        "trace": "`x[[0, 1], [0, 1]].sum()`",
        "ravel": "`x.flatten()`",
        "take": "`x.flatten()[index]`",
        "take_along_dim": "`lucid.gather(x, 1, lucid.zeros(2, 1, dtype='int64'))`",
        "unflatten": "`x.reshape(2, 3, 1)`",
        "tensor_split": "`lucid.split(x, 1)`",
        "std_mean": "`x.std(), x.mean()`",
        "var_mean": "`x.var(), x.mean()`",
        "cumprod": "`lucid.exp(lucid.log(x).cumsum(1))` for positive numbers",
        "nanmean": "`lucid.where(lucid.isnan(x), 0.0, x).mean()` where none is NaN",
        "quantile": "`numpy.quantile(x, 0.5)`",
        "bincount": "`numpy.bincount(index.numpy())`",
        "histc": "`numpy.histogram(x, 10)`",
        "isin": "`numpy.isin(x, y)`",
        "logspace": "`10 ** lucid.linspace(0, 1, 5)`",
        "normal": "`lucid.random.randn(2, 3)`",
        "bernoulli": "`lucid.random.rand(2, 3) < 0.5`",
        "cdist": "`(x[:, None] - y[None]).norm(axis=2)`",
        "iinfo": "`numpy.iinfo('int64')`",
        "result_type": "`numpy.result_type(x.dtype, y.dtype)`",
        "set_printoptions": "`numpy.set_printoptions(precision=4)`",
        "get_rng_state": "`lucid.random.get_state()`",
        "set_rng_state": "`lucid.random.set_state(lucid.random.get_state())`",
        "linalg": "`numpy.linalg`, without gradients",
        "fft": "`numpy.fft`, without gradients",
        "svd": "`numpy.linalg.svd(x)`, without gradients",
        "inverse": "`numpy.linalg.inv(x @ y.T + numpy.eye(2))`, without gradients",
        "vmap": "not in Lucid; operations take whole batches",
        "onnx": "not in Lucid",
        "quantization": "not in Lucid",
        "sparse": "leave it out: tensors are dense",
        "distributed": "`lucid.training.default_communicator()`: ranks of MPI train together",
        "multiprocessing": "use multiprocessing of the standard library",
        "profiler": "use cProfile of the standard library",
    },
    "Tensor": {
        **_BOTH,
        **_same(_CPU, "cpu cuda device is_cuda get_device pin_memory"),
        "dim": "`x.ndim`",
        "ndimension": "`x.ndim`",
        "nelement": "`x.size`",
        "long": '`x.to("int64")`',
        "int": '`x.to("int32")`',
        "short": '`x.to("int16")`',
        "byte": '`x.to("uint8")`',
        "half": '`x.to("float16")`',
        "bfloat16": '`x.to("float32")`',
        "bool": '`x.to("bool")`',
        "type": '`x.to("float64")`',
        "type_as": "`x.to(y.dtype)`",
        "clamp": "`x.clip(0, 1)`",
        "clamp_": "`x.copy_(x.clip(0, 1))` under `lucid.no_grad()`",
        "add_": "`x += y` under `lucid.no_grad()`",
        "sub_": "`x -= y` under `lucid.no_grad()`",
        "mul_": "`x *= y` under `lucid.no_grad()`",
        "div_": "`x /= y` under `lucid.no_grad()`",
        "normal_": "`lucid.nn.init.normal_(x)`",
        "uniform_": "`lucid.nn.init.uniform_(x)`",
        "relu_": "`x.relu()`",
        "unsqueeze_": "`x.unsqueeze(0)`",
        "squeeze_": "`x.squeeze(0)`",
        "detach_": "`x.detach()`",
        "masked_fill_": "`x[mask] = 0` under `lucid.no_grad()`",
        "add": "`x + y`",
        "reciprocal": "`1 / x`",
        "amax": "`x.max(axis=1)`",
        "amin": "`x.min(axis=1)`",
        "values": "leave it out: `x.max(axis=1)` returns the values alone",
        "indices": "`x.argmax(axis=1)`: `x.max(axis=1)` returns the values alone",
        "view_as": "`x.reshape(y.shape)`",
        "reshape_as": "`x.reshape(y.shape)`",
        "expand_as": "`x.expand(y.shape)`",
        "repeat": "`x.tile((2, 1))`",
        "new_zeros": "`lucid.zeros(2, 3, dtype=x.dtype)`",
        "new_ones": "`lucid.ones(2, 3, dtype=x.dtype)`",
        "new_tensor": "`lucid.tensor([1, 2], dtype=x.dtype)`",
        "data_ptr": "`x.data.ctypes.data`",
        "element_size": "`x.dtype.itemsize`",
        "stride": "`x.data.strides`, in bytes",
        "is_contiguous": "`x.data.flags.c_contiguous`",
        "equal": "`bool((x == y).all())`",
        "scatter_add_": "`x.scatter_add(1, y.to('int64'), y)`",
        "retain_grad": "not in Lucid; only leaves keep `x.grad`",
        "register_hook": "not in Lucid; only leaves keep `x.grad`",
        "grad_fn": "`x.is_leaf` says whether an operation was recorded",
        "char": "`x.to('int8')`",
        "new_full": "`lucid.full((2, 3), 1.0, dtype=x.dtype)`",
        "new_empty": "`lucid.empty(2, 3, dtype=x.dtype)`",
        "where": "`lucid.where(mask, x, y)`",
        "resize_": "`x.reshape(3, 2)`",
        "diff": "`x[:, 1:] - x[:, :-1]`",
        "itemsize": "`x.dtype.itemsize`",
        "random_": "`lucid.random.randint(0, 10, x.shape)`",
        "index_add_": "`numpy.add.at(x.data, 0, 1.0)`",
        "share_memory_": "leave it out: forked processes share the memory",
    },
    "lucid.nn": {
        **_same(
            _OTHER_ACTIVATION, "ELU PReLU Mish Softplus SELU CELU GLU LogSigmoid Softsign Threshold"
        ),
        **_same(
            _IMAGES,
            "BatchNorm3d Conv3d LSTM GRU RNN MultiheadAttention Transformer "
            "TransformerEncoderLayer MaxPool3d LSTMCell GRUCell EmbeddingBag "
            "TransformerEncoder CTCLoss",
        ),
        "BatchNorm1d": "`lucid.nn.BatchNorm2d(3)` on a shape of (N, C, 1, 1)",
        "Conv1d": "`lucid.nn.Conv2d(3, 8, (1, 3))` on a shape of (N, C, 1, L)",
        "MaxPool1d": "`lucid.nn.MaxPool2d((1, 2))` on a shape of (N, C, 1, L)",
        "Embedding": "`weight[index]`, with a `lucid.nn.Parameter(weight)` of shape (V, D)",
        "Dropout2d": "not in Lucid; `lucid.nn.Dropout(0.5)` drops single values",
        "InstanceNorm2d": "`lucid.nn.GroupNorm(8, 8)`, one group for each channel",
        "SyncBatchNorm": (
            "`lucid.nn.BatchNorm2d(3)`, and synchronize_norms=True of `lucid.training.Trainer`"
        ),
        "AdaptiveMaxPool2d": "`images.max(axis=(2, 3), keepdims=True)` for one value per channel",
        "AdaptiveAvgPool1d": "`x.mean(axis=-1, keepdims=True)` for one value per channel",
        "BCELoss": "`lucid.nn.BCEWithLogitsLoss()` on logits",
        "KLDivLoss": "not in Lucid; `(y * (y.log() - x)).sum()` is its sum",
        "ZeroPad2d": "`lucid.nn.functional.pad(images, (1, 1, 1, 1))`",
        "UpsamplingBilinear2d": (
            '`lucid.nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)`'
        ),
        "Unflatten": "`x.reshape(2, 3, 1)`",
        "ParameterList": "assign each `lucid.nn.Parameter(x)` to an attribute",
        "ParameterDict": "assign each `lucid.nn.Parameter(x)` to an attribute",
        "DataParallel": _THREADS,
        "parallel": _THREADS,
        "Softmin": "`lucid.softmax(-x, axis=1)`",
        "Softmax2d": "`lucid.nn.Softmax(1)`",
        "Hardtanh": "`lucid.clip(x, -1, 1)`",
        "PixelShuffle": "not in Lucid; `images.reshape(2, 3, 2, 4, 8)` and permute do it",
        "ReflectionPad2d": '`lucid.nn.functional.pad(images, (1, 1, 1, 1), mode="reflect")`',
        "ReplicationPad2d": '`lucid.nn.functional.pad(images, (1, 1, 1, 1), mode="replicate")`',
        "ConstantPad2d": "`lucid.nn.functional.pad(images, (1, 1, 1, 1), value=0.5)`",
        "UpsamplingNearest2d": '`lucid.nn.Upsample(scale_factor=2, mode="nearest")`',
        "LazyConv2d": "`lucid.nn.Conv2d(3, 8, 3)`, with the channels given",
        "LazyLinear": "`lucid.nn.Linear(3, 8)`, with the features given",
        "CosineSimilarity": "`(x * y).sum(axis=1) / (x.norm(axis=1) * y.norm(axis=1))`",
        "AvgPool1d": "`lucid.nn.AvgPool2d((1, 2))` on a shape of (N, C, 1, L)",
    },
    "Module": {
        **_same(_CPU, "cuda cpu device"),
        "float": '`model.to("float32")`',
        "double": '`model.to("float64")`',
        "half": 'not in Lucid: a model is float32 or float64, `model.to("float32")`',
        "bfloat16": 'not in Lucid: a model is float32 or float64, `model.to("float32")`',
        "type": '`model.to("float64")`',
        "compile": _COMPILED,
        "share_memory": "leave it out: forked processes share the weights",
        "get_parameter": '`dict(model.named_parameters())["weight"]`',
        "get_buffer": "`dict(model.named_buffers())`",
        "register_module": '`model.add_module("name", child)`',
        "register_backward_hook": "not in Lucid; see `model.register_forward_hook(hook)`",
        "register_full_backward_hook": "not in Lucid; see `model.register_forward_hook(hook)`",
    },
    "lucid.nn.functional": {
        **_same(_OTHER_ACTIVATION, "elu softplus selu celu mish glu prelu logsigmoid softsign"),
        "normalize": "`x / x.norm(axis=1, keepdims=True)`",
        "embedding": "`weight[index]`",
        "upsample": '`lucid.nn.functional.interpolate(images, scale_factor=2, mode="bilinear")`',
        "binary_cross_entropy": (
            "`lucid.nn.functional.binary_cross_entropy_with_logits(x, y)` on logits"
        ),
        "kl_div": "not in Lucid; `(y * (y.log() - x)).sum()` is its sum",
        "adaptive_max_pool2d": "`images.max(axis=(2, 3), keepdims=True)` for one value per channel",
        "dropout2d": "not in Lucid; `lucid.nn.functional.dropout(x, 0.5)` drops single values",
        "conv1d": "`lucid.conv2d(images, kernel)` on a shape of (N, C, 1, L)",
        "hardtanh": "`lucid.clip(x, -1, 1)`",
        "softmin": "`lucid.softmax(-x, axis=1)`",
        "relu_": "`x.relu()`",
        "cosine_similarity": "`(x * y).sum(axis=1) / (x.norm(axis=1) * y.norm(axis=1))`",
        "pairwise_distance": "`(x - y).norm(axis=1)`",
        "instance_norm": "`lucid.nn.functional.group_norm(images, 3)`, one group for each channel",
        "grid_sample": (
            "not in Lucid; `lucid.nn.functional.interpolate(images, scale_factor=2)` resizes"
        ),
        "pixel_shuffle": "not in Lucid; `images.reshape(2, 3, 2, 4, 8)` and permute do it",
    },
    "lucid.nn.utils": {
        "clip_grad_norm": "`lucid.nn.utils.clip_grad_norm_(params, 1.0)`",
        "clip_grad_value_": "`lucid.nn.utils.clip_grad_norm_(params, 1.0)`",
        "parameters_to_vector": "`lucid.concatenate([p.flatten() for p in params])`",
        "rnn": _IMAGES,
        "weight_norm": "not in Lucid",
        "spectral_norm": "not in Lucid",
    },
    "lucid.autograd": {
        "grad": "`loss.backward()`, and read `x.grad`",
        "gradcheck": "`lucid.testing.gradcheck`",
        "Function": "`lucid.autograd.record`, which takes a value and its derivatives",
    },
    "lucid.optim": {
        **_same(
            _OTHER_OPTIMIZER,
            "RMSprop Adagrad Adadelta Adamax NAdam RAdam LBFGS Rprop SparseAdam Muon",
        ),
        "swa_utils": "not in Lucid",
    },
    "lucid.optim.lr_scheduler": {
        "ReduceLROnPlateau": (
            'not in Lucid; set `optimizer.param_groups[0]["lr"]` when validation stops improving'
        ),
        "OneCycleLR": '`lucid.training.schedule_with_warmup(optimizer, 100, schedule="cosine")`',
        "CosineAnnealingWarmRestarts": (
            "`lucid.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)`, without the restarts"
        ),
        "ExponentialLR": "`lucid.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.9)`",
        "LambdaLR": 'not in Lucid; set `optimizer.param_groups[0]["lr"]` before each step',
        "ConstantLR": "`lucid.optim.lr_scheduler.LinearLR(optimizer, 0.5, 0.5)`",
    },
    "lucid.data": {
        **_same(_ORDER, "SubsetRandomSampler BatchSampler Sampler"),
        "IterableDataset": "`lucid.data.Dataset`, which has a length and samples by index",
        "ConcatDataset": "not in Lucid; define a `lucid.data.Dataset` over both",
        "random_split": "`lucid.data.Subset(dataset, lucid.random.permutation(4)[:3])`",
        "RandomSampler": "`lucid.data.DataLoader(dataset, shuffle=True)`",
        "SequentialSampler": "leave it out: it is the default order",
        "WeightedRandomSampler": (
            "`lucid.data.Subset(dataset, lucid.random.choice(4, 4, p=[0.1, 0.2, 0.3, 0.4]))`"
        ),
        "DistributedSampler": "leave it out: ranks share each batch of a `lucid.data.DataLoader`",
        "get_worker_info": "leave it out: `lucid.random` is seeded for every sample",
    },
    "lucid.random": {
        "manual_seed": "`lucid.random.seed(0)`",
        "get_rng_state": "`lucid.random.get_state()`",
        "set_rng_state": "`lucid.random.set_state(lucid.random.get_state())`",
        "randperm": "`lucid.random.permutation(10)`",
        "normal": "`lucid.random.randn(2, 3)`",
    },
    "Generator": {
        "manual_seed": "`generator.seed(0)`",
        "device": _CPU,
    },
    "lucid.models": {
        **_same(_WEIGHT_TAGS, "*_Weights get_weight"),
        **_same(
            '`lucid.weights.list_weights("resnet_50")`', "get_model_weights is_model_pretrained"
        ),
        **_same(_NO_SUCH_TASK, "segmentation quantization video optical_flow"),
        "get_model": '`lucid.models.create_model("resnet_50")`',
        "get_model_builder": '`lucid.models.get_builder("resnet_50")`',
        "list_modules": "`lucid.models.list_plugins()`",
        "detection": '`lucid.models.list_models(task="object-detection")`',
        "feature_extraction": "call model.features(x), which returns the maps of each stage",
    },
    "lucid.vision": {
        "models": "`lucid.models`",
        "ops": (
            "box operations are in lucid_models_detection.boxes, RoIAlign, anchors, pyramids and "
            "losses in lucid_models_detection.parts"
        ),
        "datasets": (
            "folders of images are lucid_models_classification.ImageFolder; COCO and VOC data are "
            "in lucid_models_detection.data"
        ),
        "utils": "boxes are drawn by lucid_models_detection.draw.draw_boxes",
        "io": "`lucid.vision.read_image`",
        "decode_image": "`lucid.vision.read_image`",
        "tv_tensors": "leave it out: boxes are arrays (M, 4) in the target of an image",
    },
    "lucid.vision.transforms": {
        **_same("`lucid.vision.to_array(image)`", "ToImage ToTensor PILToTensor"),
        "v2": "`lucid.vision.transforms`",
        "functional": "`lucid.vision.transforms.Resize(8)(array)`: call a transform",
        "ToPILImage": "`lucid.vision.to_pil(array)`",
        "InterpolationMode": '`lucid.vision.transforms.Resize(8, interpolation="bicubic")`',
        "ConvertImageDtype": "`x.astype(lucid.float32) / 255`",
        "ToDtype": "`x.astype(lucid.float32) / 255`",
    },
}

#: Hints for keyword arguments: the name in Lucid, or a sentence.
KEYWORDS: dict[str, str] = {
    **_same(_CPU, "device pin_memory pin_memory_device non_blocking map_location capturable"),
    **_same(_WEIGHTS, "pretrained weights"),
    **_same(_BACKBONE_WEIGHTS, "pretrained_backbone weights_backbone"),
    "checkpoint_path": "give the path as `weights=` of `lucid.models.create_model`",
    "progress": "leave it out: terminals show the progress",
    "dim": "axis",
    "dims": "axis",
    "keepdim": "keepdims",
    "start_dim": "start_axis",
    "end_dim": "end_axis",
    "input": "x",
    "filter": "pattern",
    "p": "ord",
    "split_size_or_sections": "size_or_sections",
    "size": "pass the shape by position",
    "dim0": "pass the axes by position",
    "dim1": "pass the axes by position",
    "sorted": "leave it out: the values are sorted",
    "steps": "num",
    "end": "stop",
    "unbiased": "use `correction=1` for True, `correction=0` for False",
    "inplace": "leave it out: layers and functions return new tensors",
    "out": "leave it out: functions return new tensors",
    "raise_exception": "leave it out: a failure raises AssertionError",
    "memory_format": "leave it out: images are kept channels last",
    "layout": "leave it out: tensors are dense",
    "dtype": 'convert the result: `.to("float64")`',
    "requires_grad": "call `.requires_grad_()` on the result",
    "size_average": 'use `reduction="mean"` or `reduction="sum"`',
    "reduce": 'use `reduction="none"`',
    "antialias": "leave it out: `interpolate` does not smooth",
    "create_graph": "leave it out: Lucid has no second derivatives",
    "weights_only": "leave it out: files are only ever read as data",
    "assign": "leave it out: values are copied into the parameters",
    "foreach": "leave it out: the step is one compiled kernel",
    "fused": "leave it out: the step is one compiled kernel",
    "differentiable": "leave it out: the step is not recorded",
    "verbose": "leave it out: `get_last_lr()` returns the learning rates",
    "metrics": "leave it out: schedulers depend on the number of steps, not on the loss",
    "epoch": "leave it out: call `step()` once an epoch",
    "num_workers": "workers",
    "collate_fn": "collate",
    "prefetch_factor": "prefetch",
    "persistent_workers": "leave it out: workers run until `close()`",
    "worker_init_fn": "leave it out: `lucid.random` is seeded for every sample",
    "sampler": "use `shuffle=True`, or give the order as a `lucid.data.Subset`",
    "batch_sampler": "use `batch_size` and `shuffle`, or give the order as a `lucid.data.Subset`",
    "generator": "use `seed=`",
    "multiprocessing_context": "leave it out: workers are spawned",
    "timeout": "leave it out: a worker that dies is an error at once",
    "in_chans": "in_channels",
    "num_class": "num_classes",
    "nb_classes": "num_classes",
    "features_only": "leave it out: `model.features(x)` returns the maps of every stage",
}

#: Hints for keyword arguments of one function or class.
KEYWORDS_OF: dict[str, dict[str, str]] = {
    "max": {"dim": "use `axis=`; max returns only the values, argmax the indices"},
    "min": {"dim": "use `axis=`; min returns only the values, argmin the indices"},
    "list_models": {"pretrained": "list weights by `lucid.weights.list_weights()`"},
    "Resize": {"antialias": "leave it out: resizing always antialiases"},
    "backward": {"inputs": "set `requires_grad` of the leaves instead"},
}

#: Positional arguments of PyTorch that Lucid lacks or takes by keyword only.
POSITIONS: dict[str, dict[int, str]] = {
    "ReLU": {0: "inplace"},
    "ReLU6": {0: "inplace"},
    "SiLU": {0: "inplace"},
    "Hardsigmoid": {0: "inplace"},
    "Hardswish": {0: "inplace"},
    "LeakyReLU": {1: "inplace"},
    "Dropout": {1: "inplace"},
    "Normalize": {2: "inplace"},
    "relu": {1: "inplace"},
    "relu6": {1: "inplace"},
    "silu": {1: "inplace"},
    "hardsigmoid": {1: "inplace"},
    "hardswish": {1: "inplace"},
    "leaky_relu": {2: "inplace"},
    "step": {0: "metrics"},
    "to": {1: "device"},
    "DataLoader": {2: "shuffle"},
    "create_model": {1: "pretrained"},
}
