"""Builds a Keras 3 model (JAX backend) from one of our architecture files, and moves tensors between the two.

An architecture is JSON: `variables` (with defaults), `inputs`, `branches`, `fusion`. A string "$name" stands for a variable;
`frames`, `mels`, `parts`, `columns` and `classes` are given by the features ("sizes" in a model file's metadata).
Each layer becomes one Keras layer named "<branch>.<layer>"; wrappers add no segment. Tensor names are
"<branch>.<layer>.<tensor>" with Keras' own layouts, so that no array is ever transposed:

    conv1d        kernel (size, in, out), bias (out)
    dense         kernel (in, out), bias (out)
    batch_norm    gamma, beta, moving_mean, moving_variance (channels)
    lstm          kernel (in, 4u), recurrent_kernel (u, 4u), bias (4u); gates in the order i, f, c, o
    bidirectional the lstm's three tensors twice, prefixed forward_ and backward_
    conv2d        kernel (height, width, in, out), bias (out)
    layer_norm    gamma, beta (channels)
    attention_pooling kernel (channels, units), bias (units), query (units, 1)
    embedding     embeddings (input_dim, output_dim)
    multi_head_attention query_, key_ and value_kernel (channels, heads, size), their biases (heads, size),
                  output_kernel (heads, size, channels), output_bias (channels)

A layer's "inputs" name layers before it in its branch, or the branch's input; in the fusion also branches.

Run with KERAS_BACKEND=jax (this module sets it where it is unset).
"""

import json
import os

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax  # noqa: E402

jax.config.update("jax_default_matmul_precision", "highest")

import keras  # noqa: E402
import numpy as np  # noqa: E402
from safetensors import safe_open  # noqa: E402
from safetensors.numpy import save_file  # noqa: E402

BUILT_IN = ("frames", "mels", "parts", "columns", "classes")
PAPER_SIZES = {"frames": 501, "mels": 128, "parts": 200, "columns": 189, "classes": 4}
LSTM_TENSORS = ("kernel", "recurrent_kernel", "bias")


def resolve(node, variables):
    """The JSON value with every "$name" replaced by that variable's value."""
    if isinstance(node, str) and node.startswith("$"):
        return variables[node[1:]]
    if isinstance(node, dict):
        return {key: resolve(value, variables) for key, value in node.items()}
    if isinstance(node, list):
        return [resolve(value, variables) for value in node]
    return node


def _l2(options):
    rate = options.pop("l2", 0)
    return keras.regularizers.L2(rate) if rate else None


class AttentionPooling(keras.layers.Layer):
    """Attentive statistics pooling (Okabe et al. 2018) as the field writes it: tanh, one score a step, softmax."""

    def __init__(self, units=64, deviation=True, epsilon=1e-6, kernel_regularizer=None, **options):
        super().__init__(**options)
        self.units, self.deviation, self.epsilon, self.kernel_regularizer = units, deviation, epsilon, kernel_regularizer

    def build(self, shape):
        self.kernel = self.add_weight(name="kernel", shape=(shape[-1], self.units), regularizer=self.kernel_regularizer)
        self.bias = self.add_weight(name="bias", shape=(self.units,), initializer="zeros")
        self.query = self.add_weight(name="query", shape=(self.units, 1))

    def call(self, x):
        ops = keras.ops
        weights = ops.softmax(ops.matmul(ops.tanh(ops.matmul(x, self.kernel) + self.bias), self.query), axis=1)
        mean = ops.sum(weights * x, axis=1)
        if not self.deviation:
            return mean
        variance = ops.sum(weights * ops.square(x - mean[:, None, :]), axis=1)
        return ops.concatenate([mean, ops.sqrt(variance + self.epsilon)], axis=-1)


def make_layer(spec, branch):
    """One Keras layer from our layer JSON (already resolved). Unknown fields are refused by Keras itself."""
    options = dict(spec)
    kind = options.pop("type")
    if kind in ("time_distributed", "bidirectional"):
        inner = options.pop("layer")
        name = f"{branch}.{inner['name']}"
        wrapper = {"time_distributed": keras.layers.TimeDistributed, "bidirectional": keras.layers.Bidirectional}[kind]
        return wrapper(make_layer(inner, branch), name=name, **options)
    options["name"] = f"{branch}.{options['name']}"
    if kind == "conv1d":
        return keras.layers.Conv1D(kernel_regularizer=_l2(options), **options)
    if kind == "dense":
        return keras.layers.Dense(kernel_regularizer=_l2(options), **options)
    if kind == "lstm":
        return keras.layers.LSTM(kernel_regularizer=_l2(options), **options)
    if kind == "conv2d":
        return keras.layers.Conv2D(kernel_regularizer=_l2(options), **options)
    if kind == "multi_head_attention":
        options["value_dim"] = options.get("value_dim") or None
        return keras.layers.MultiHeadAttention(kernel_regularizer=_l2(options), **options)
    if kind == "embedding":
        return keras.layers.Embedding(embeddings_regularizer=_l2(options), **options)
    if kind == "attention_pooling":
        return AttentionPooling(kernel_regularizer=_l2(options), **options)
    plain = {
        "add": keras.layers.Add,
        "layer_norm": keras.layers.LayerNormalization,
        "max_pooling2d": keras.layers.MaxPooling2D,
        "global_average_pooling1d": keras.layers.GlobalAveragePooling1D,
        "reshape": keras.layers.Reshape,
        "maxpool1d": keras.layers.MaxPooling1D,
        "batch_norm": keras.layers.BatchNormalization,
        "dropout": keras.layers.Dropout,
        "flatten": keras.layers.Flatten,
        "activation": keras.layers.Activation,
        "concatenate": keras.layers.Concatenate,
    }
    return plain[kind](**options)


def run_layers(layers, branch, x, named):
    """The output of a branch or the fusion: each layer reads the one before it, or those that its "inputs" name."""
    named = dict(named)
    for spec in layers:
        spec = dict(spec)
        if not spec.pop("if", True):  # left out
            continue
        names = spec.pop("inputs", None)
        if names:
            x = named[names[0]] if len(names) == 1 else [named[name] for name in names]
        if spec["type"] == "embedding":  # ours reads one id a step, however many indices of size 1 follow
            x = keras.layers.Flatten()(x)
        layer = make_layer(spec, branch)
        x = layer(x, x) if spec["type"] == "multi_head_attention" else layer(x)
        named[spec.get("layer", spec).get("name") or spec["layer"]["layer"]["name"]] = x
    return x


def build(architecture, sizes):
    """The Keras model of an architecture (dict); inputs are named as the architecture's inputs."""
    variables = {**architecture.get("variables", {}), **sizes}
    architecture = resolve({k: v for k, v in architecture.items() if k != "variables"}, variables)
    if any(spec.get("mask") for spec in architecture["inputs"].values()):
        raise SystemExit("a masked input: this script builds networks without masks only")
    inputs = {
        name: keras.Input(shape=tuple(spec["shape"]), name=name, dtype="float32")
        for name, spec in architecture["inputs"].items()
    }
    outputs = {}
    for name, branch in architecture["branches"].items():
        outputs[name] = run_layers(branch["layers"], name, inputs[branch["input"]], {branch["input"]: inputs[branch["input"]]})
    parts = [outputs[name] for name in architecture["fusion"]["branches"]]
    x = run_layers(architecture["fusion"]["layers"], "fusion", parts[0] if len(parts) == 1 else parts, outputs)
    return keras.Model(inputs=inputs, outputs=x, name=architecture.get("name"))


def layer_tensors(layer):
    """[(tensor name within the layer, Keras variable)] of one layer, wrappers opened."""
    if isinstance(layer, keras.layers.TimeDistributed):
        return layer_tensors(layer.layer)
    if isinstance(layer, keras.layers.Bidirectional):
        return [
            (f"{direction}_{name}", variable)
            for direction, one in (("forward", layer.forward_layer), ("backward", layer.backward_layer))
            for name, variable in layer_tensors(one)
        ]
    if isinstance(layer, keras.layers.LSTM):
        return [(name, getattr(layer.cell, name)) for name in LSTM_TENSORS]
    if isinstance(layer, keras.layers.BatchNormalization):
        return [(n, getattr(layer, n)) for n in ("gamma", "beta", "moving_mean", "moving_variance")]
    if isinstance(layer, keras.layers.LayerNormalization):
        return [(name, getattr(layer, name)) for name in ("gamma", "beta")]
    if isinstance(layer, keras.layers.MultiHeadAttention):
        projections = {"query": layer.query_dense, "key": layer.key_dense, "value": layer.value_dense,
                       "output": layer.output_dense}
        return [(f"{name}_{part}", getattr(dense, part)) for name, dense in projections.items() for part in ("kernel", "bias")]
    if isinstance(layer, keras.layers.Embedding):
        return [("embeddings", layer.embeddings)]
    if isinstance(layer, AttentionPooling):
        return [(name, getattr(layer, name)) for name in ("kernel", "bias", "query")]
    if isinstance(layer, (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Dense)):
        return [(name, getattr(layer, name)) for name in ("kernel", "bias")]
    return []


def tensors(model):
    """{our tensor name: Keras variable} of the whole model, in the layers' order."""
    return {
        f"{layer.name}.{name}": variable
        for layer in model.layers
        for name, variable in layer_tensors(layer)
        if variable is not None
    }


def get_weights(model):
    """{our tensor name: float32 array}."""
    return {name: variable.numpy() for name, variable in tensors(model).items()}


def set_weights(model, arrays):
    """Gives the model every tensor of `arrays`; a missing, extra or misshapen one is an error that names it."""
    variables = tensors(model)
    missing, extra = sorted(variables.keys() - arrays.keys()), sorted(arrays.keys() - variables.keys())
    if missing or extra:
        raise ValueError(f"tensor names differ: missing {missing}, extra {extra}")
    for name, variable in variables.items():
        array = arrays[name]
        if tuple(array.shape) != tuple(variable.shape) or array.dtype != np.float32:
            raise ValueError(f"{name}: {array.dtype}{array.shape}, Keras has float32{tuple(variable.shape)}")
        variable.assign(array)


def count_parameters(model):
    """(all, trainable) parameters by Keras' own count."""
    return model.count_params(), sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def read_safetensors(path):
    """({tensor name: array}, {metadata key: parsed JSON value}); metadata that is no JSON stays text."""
    with safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}
        metadata = dict(file.metadata() or {})
    for key, text in metadata.items():
        try:
            metadata[key] = json.loads(text)
        except ValueError:
            pass
    return arrays, metadata


def write_safetensors(path, arrays, metadata=None):
    """Writes arrays; metadata values become JSON text in strings, as in our model files."""
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    texts = {key: json.dumps(value, separators=(",", ":")) for key, value in (metadata or {}).items()}
    save_file(arrays, path, metadata=texts or None)


def model_tensors(arrays):
    """The model's own tensors of a model file or checkpoint (optimiser moments left out)."""
    return {name: array for name, array in arrays.items() if not name.startswith(("adam_m.", "adam_v."))}


def load(path):
    """(Keras model with the weights of our model file, its metadata)."""
    arrays, metadata = read_safetensors(path)
    model = build(metadata["architecture"], metadata["sizes"])
    set_weights(model, model_tensors(arrays))
    return model, metadata


def predict(model, inputs):
    """Inference probabilities, float32 (n, classes). Runs eagerly: a time_distributed stack is a loop over all frames,
    which would take XLA minutes to compile."""
    feeds = {name: inputs[name] for name in model.input if name in inputs}
    return np.array(model(feeds, training=False))
