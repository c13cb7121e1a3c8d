"""Makes the stored numbers of tests/reference/keras from Keras 3 (JAX backend, CPU, float32), or checks them.

    python make_keras.py           writes the files anew
    python make_keras.py --check   computes everything again and compares with the stored files by tolerance

Everything is drawn from numpy's PCG64 with fixed seeds, so inputs and initial weights are the same everywhere; what Keras
computes from them may differ in the last bits between processors. README.md lists files, tensors and shapes.
"""

import argparse
import json
import pathlib
import sys

import numpy as np

import keras_model
from keras_model import jax, keras

FOLDER = pathlib.Path(__file__).parent / "keras"
SIZES = {"frames": 5, "mels": 24, "parts": 20, "columns": 7, "classes": 4}
OTHER_SIZES = {"small_text": {"frames": 7, "mels": 1}}  # where they are not those
N_EXAMPLES = 6  # per batch and per stored prediction
N_STEPS = 10

# name -> architecture file, whose variables are overridden; class weights or None
TRAINING = {
    "training_plain": ("small_paper", {}, None),
    "training_l2": ("small_paper", {"l2_audio": 0.01, "l2_motion": 0.001}, None),
    "training_bn": ("small_paper_bn", {}, None),
    "training_bn_l2": ("small_paper_bn", {"l2_audio": 0.01, "l2_motion": 0.001}, None),
    "training_bn_l2_weighted": ("small_paper_bn", {"l2_audio": 0.01, "l2_motion": 0.001}, [0.5, 2.0, 1.25, 0.75]),
    "training_audio_bn": ("small_audio", {}, None),
    "training_graph": ("small_graph", {}, None),
    "training_text": ("small_text", {"l2": 0.01}, None),
}

# name -> (layer JSON, shape of one batch of inputs, training mode)
LAYERS = {
    "conv1d_valid": ({"type": "conv1d", "filters": 4, "kernel_size": 3}, (2, 9, 3), False),
    "conv1d_same": ({"type": "conv1d", "filters": 4, "kernel_size": 4, "padding": "same"}, (2, 9, 3), False),
    "conv1d_stride": ({"type": "conv1d", "filters": 4, "kernel_size": 3, "strides": 2}, (2, 10, 3), False),
    "conv1d_same_stride": (
        {"type": "conv1d", "filters": 4, "kernel_size": 3, "strides": 2, "padding": "same", "activation": "relu"},
        (2, 10, 3),
        False,
    ),
    "conv1d_relu": ({"type": "conv1d", "filters": 4, "kernel_size": 3, "activation": "relu"}, (2, 9, 3), False),
    "conv1d_frames": (
        {"type": "time_distributed", "layer": {"type": "conv1d", "filters": 4, "kernel_size": 3, "activation": "relu"}},
        (2, 3, 8, 2),
        False,
    ),
    "maxpool1d_valid": ({"type": "maxpool1d", "pool_size": 2}, (2, 9, 3), False),
    "maxpool1d_same": ({"type": "maxpool1d", "pool_size": 2, "padding": "same"}, (2, 9, 3), False),
    "maxpool1d_overlap": ({"type": "maxpool1d", "pool_size": 3, "strides": 2, "padding": "same"}, (2, 10, 3), False),
    "maxpool1d_frames": (
        {"type": "time_distributed", "layer": {"type": "maxpool1d", "pool_size": 2}},
        (2, 3, 7, 2),
        False,
    ),
    "batch_norm_training": ({"type": "batch_norm"}, (4, 5, 3), True),
    "batch_norm_inference": ({"type": "batch_norm"}, (4, 5, 3), False),
    "batch_norm_options": ({"type": "batch_norm", "momentum": 0.8, "epsilon": 0.02}, (6, 3), True),
    "flatten": ({"type": "flatten"}, (2, 3, 4), False),
    "dense_linear": ({"type": "dense", "units": 5}, (3, 4), False),
    "dense_relu": ({"type": "dense", "units": 5, "activation": "relu"}, (3, 4), False),
    "dense_tanh": ({"type": "dense", "units": 5, "activation": "tanh"}, (3, 4), False),
    "dense_sigmoid": ({"type": "dense", "units": 5, "activation": "sigmoid"}, (3, 4), False),
    "dense_softmax": ({"type": "dense", "units": 5, "activation": "softmax"}, (3, 4), False),
    "lstm_sequences": ({"type": "lstm", "units": 4, "return_sequences": True}, (3, 6, 5), False),
    "lstm_last": ({"type": "lstm", "units": 4}, (3, 6, 5), False),
    "bidirectional_sequences": (
        {"type": "bidirectional", "layer": {"type": "lstm", "units": 4, "return_sequences": True}},
        (3, 6, 5),
        False,
    ),
    "bidirectional_last": ({"type": "bidirectional", "layer": {"type": "lstm", "units": 4}}, (3, 6, 5), False),
    "activation_relu": ({"type": "activation", "activation": "relu"}, (3, 6), False),
    "activation_tanh": ({"type": "activation", "activation": "tanh"}, (3, 6), False),
    "activation_sigmoid": ({"type": "activation", "activation": "sigmoid"}, (3, 6), False),
    "activation_softmax": ({"type": "activation", "activation": "softmax"}, (3, 6), False),
    "lstm_masked_sequences": ({"type": "lstm", "units": 4, "return_sequences": True}, (3, 6, 5), False),
    "lstm_masked_last": ({"type": "lstm", "units": 4}, (3, 6, 5), False),
    "bidirectional_masked_sequences": (
        {"type": "bidirectional", "layer": {"type": "lstm", "units": 4, "return_sequences": True}},
        (3, 6, 5),
        False,
    ),
    "bidirectional_masked_last": ({"type": "bidirectional", "layer": {"type": "lstm", "units": 4}}, (3, 6, 5), False),
}
MASKED_LENGTHS = np.array([2, 6, 5], np.int32)  # steps of each sequence that the mask of a masked case keeps


def random(*seed):
    return np.random.Generator(np.random.PCG64([20261123, *seed]))


def draw_weight(rng, name, shape):
    """A value that leaves no tensor at its trivial start (no zero bias, no unit gamma)."""
    kind = name.rsplit(".", 1)[-1]
    if kind == "moving_variance":
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    if kind == "gamma":
        return rng.uniform(0.8, 1.2, shape).astype(np.float32)
    if len(shape) == 1:
        return rng.normal(0, 0.1, shape).astype(np.float32)
    fan_in, fan_out = np.prod(shape[:-1]), shape[-1]
    return rng.normal(0, np.sqrt(2.0 / (fan_in + fan_out)), shape).astype(np.float32)


def draw_weights(model, rng):
    arrays = {name: draw_weight(rng, name, tuple(v.shape)) for name, v in sorted(keras_model.tensors(model).items())}
    keras_model.set_weights(model, arrays)
    return arrays


def read_architecture(name, overrides):
    """(architecture with its variables at the values used, Keras model)."""
    architecture = json.loads((FOLDER / f"{name}.json").read_text())
    architecture["variables"] = {**architecture.get("variables", {}), **overrides}
    return architecture, keras_model.build(architecture, sizes_of(name))


def sizes_of(name):
    return {**SIZES, **OTHER_SIZES.get(name, {})}


def draw_ids(architecture, name, rng, shape):
    """Ids of the smallest table that reads the input, zeros behind those of each utterance's length; None: no ids."""
    tables = [spec["input_dim"] for branch in architecture["branches"].values() if branch["input"] == name
              for spec in branch["layers"] if spec["type"] == "embedding"]
    if not tables:
        return None
    ids = rng.integers(1, min(tables), shape)
    lengths = rng.integers(1, shape[-3] + 1, shape[:-3])
    ids[np.arange(shape[-3]) >= lengths[..., None]] = 0
    return ids.astype(np.float32)


def draw_inputs(architecture, model, rng, *batch):
    found = {}
    for name, tensor in sorted(model.input.items()):
        shape = (*batch, *tensor.shape[1:])
        ids = draw_ids(architecture, name, rng, shape)
        found[name] = rng.normal(0, 1, shape).astype(np.float32) if ids is None else ids
    return found


def make_inference(name, seed):
    """weights.NAME, inputs.NAME (n, ...), probabilities (n, classes)."""
    architecture, model = read_architecture(name, {})
    rng = random(1, seed)
    weights, inputs = draw_weights(model, rng), draw_inputs(architecture, model, rng, N_EXAMPLES)
    arrays = {f"weights.{key}": value for key, value in weights.items()}
    arrays |= {f"inputs.{key}": value for key, value in inputs.items()}
    arrays["probabilities"] = keras_model.predict(model, inputs)
    return arrays, {"architecture": architecture, "sizes": sizes_of(name)}


def train_step(model, optimizer, cross_entropy):
    """A jitted step: (variables, batch) -> (variables, cross-entropy, L2 part), as Keras' own JAX trainer does it."""

    def compute_loss(trainable, other, inputs, targets, weights):
        outputs, other, penalties = model.stateless_call(trainable, other, inputs, training=True, return_losses=True)
        entropy = cross_entropy(targets, outputs, sample_weight=weights)
        penalty = sum(penalties, start=np.float32(0))
        return entropy + penalty, (entropy, penalty, other)

    gradient = jax.value_and_grad(compute_loss, has_aux=True)

    @jax.jit
    def step(trainable, other, moments, inputs, targets, weights):
        (_, (entropy, penalty, other)), gradients = gradient(trainable, other, inputs, targets, weights)
        trainable, moments = optimizer.stateless_apply(moments, gradients, trainable)
        return trainable, other, moments, entropy, penalty

    return step


def make_training(name, seed):
    """initial.NAME, final.NAME; inputs.NAME (steps * batch, ...), labels (steps, batch) int32; the losses before each
    step: cross_entropy, l2, total (steps) float32; class_weights (classes) float32 where the case has them."""
    file, overrides, class_weights = TRAINING[name]
    architecture, model = read_architecture(file, overrides)
    rng = random(2, seed)
    initial = draw_weights(model, rng)
    inputs = draw_inputs(architecture, model, random(3), N_STEPS, N_EXAMPLES)  # the same data in every case
    labels = random(4).integers(0, SIZES["classes"], (N_STEPS, N_EXAMPLES), dtype=np.int32)
    for array in inputs.values():  # something to learn: a shift by label
        if file != "small_text":
            array += 0.3 * labels.reshape(labels.shape + (1,) * (array.ndim - 2)).astype(np.float32)
    targets = np.eye(SIZES["classes"], dtype=np.float32)[labels]
    weights = np.asarray(class_weights or [1] * SIZES["classes"], np.float32)

    optimizer = keras.optimizers.Adam()  # 1e-3, 0.9, 0.999, 1e-7
    optimizer.build(model.trainable_variables)
    step = train_step(model, optimizer, keras.losses.CategoricalCrossentropy())
    state = ([v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables])
    moments = [v.value for v in optimizer.variables]
    losses = []
    for i in range(N_STEPS):
        batch = {key: value[i] for key, value in inputs.items()}
        *state, moments, entropy, penalty = step(*state, moments, batch, targets[i], weights[labels[i]])
        losses.append((float(entropy), float(penalty)))
    for variable, value in zip(model.trainable_variables, state[0]):
        variable.assign(value)
    for variable, value in zip(model.non_trainable_variables, state[1]):
        variable.assign(value)
    final = keras_model.get_weights(model)
    losses = np.array(losses, np.float32)
    confirm_training(model, initial, inputs, targets, class_weights, losses.sum(axis=1), final)

    arrays = {f"initial.{key}": value for key, value in initial.items()}
    arrays |= {f"final.{key}": value for key, value in final.items()}
    for key, value in inputs.items():  # steps and batch as one index: our tensors have at most four
        arrays[f"inputs.{key}"] = value.reshape(-1, *value.shape[2:])
    arrays |= {"labels": labels, "cross_entropy": losses[:, 0], "l2": losses[:, 1], "total": losses.sum(axis=1)}
    if class_weights:
        arrays["class_weights"] = weights
    return arrays, {"architecture": architecture, "sizes": sizes_of(file)}


def confirm_training(model, initial, inputs, targets, class_weights, totals, final):
    """Our step against Model.train_on_batch: the same totals and final weights, or the step above is wrong."""
    keras_model.set_weights(model, initial)
    model.compile(optimizer=keras.optimizers.Adam(), loss="categorical_crossentropy")
    class_weight = dict(enumerate(class_weights)) if class_weights else None
    for i in range(N_STEPS):
        batch = {key: value[i] for key, value in inputs.items()}
        model.reset_metrics()
        loss = float(model.train_on_batch(batch, targets[i], class_weight=class_weight))
        assert abs(loss - totals[i]) <= 2e-5 * abs(loss), f"step {i}: train_on_batch {loss}, our step {totals[i]}"
    for name, value in keras_model.get_weights(model).items():
        np.testing.assert_allclose(value, final[name], rtol=1e-3, atol=5e-4, err_msg=name)


def make_layer_case(case, seed):
    """x, y, d_y (drawn), d_x and for each parameter its value and gradient d_NAME; batch_norm in training mode also
    after.moving_mean and after.moving_variance; in a masked case lengths."""
    spec, shape, training = LAYERS[case]
    rng = random(5, seed)
    inner = spec.get("layer", spec)
    inner["name"] = "layer"
    layer = keras_model.make_layer(spec, "b")
    layer.build(shape)
    variables = dict(keras_model.layer_tensors(layer))
    values = {name: draw_weight(rng, name, tuple(v.shape)) for name, v in variables.items()}
    for name, variable in variables.items():
        variable.assign(values[name])
    x = rng.normal(0, 1, shape).astype(np.float32)
    other = [v.value for v in layer.non_trainable_variables]
    kwargs = {"training": training} if inner["type"] in ("batch_norm", "dropout") else {}
    if "_masked" in case:
        kwargs["mask"] = np.arange(shape[1])[None, :] < MASKED_LENGTHS[:, None]

    def run(trainable, x):
        return layer.stateless_call(trainable, other, x, **kwargs)

    trainable = [v.value for v in layer.trainable_variables]
    y, after = run(trainable, x)
    d_y = rng.normal(0, 1, y.shape).astype(np.float32)
    _, backward = jax.vjp(lambda trainable, x: run(trainable, x)[0], trainable, x)
    d_trainable, d_x = backward(jax.numpy.asarray(d_y))

    arrays = {"x": x, "y": y, "d_y": d_y, "d_x": d_x, **values}
    if "_masked" in case:
        arrays["lengths"] = MASKED_LENGTHS
    for name, variable in variables.items():
        for one, gradient in zip(layer.trainable_variables, d_trainable):
            if one is variable:
                arrays[f"d_{name}"] = gradient
        for one, value in zip(layer.non_trainable_variables, after):
            if training and one is variable:
                arrays[f"after.{name}"] = value
    return {f"{case}.{name}": np.array(array) for name, array in arrays.items()}


def make_cross_entropy():
    """Softmax with Keras' cross-entropy: logits, probabilities, labels, weights; loss and d_logits of the weighted mean
    (sum over rows / rows), as class weights give it."""
    rng = random(6)
    logits = rng.normal(0, 2, (5, 4)).astype(np.float32)
    labels = np.array([0, 3, 1, 1, 2], np.int32)
    weights = rng.uniform(0.5, 2, 5).astype(np.float32)
    targets = np.eye(4, dtype=np.float32)[labels]
    loss = keras.losses.CategoricalCrossentropy()

    def compute(logits):
        return loss(targets, keras.ops.softmax(logits), sample_weight=weights)

    value, d_logits = jax.value_and_grad(compute)(logits)
    arrays = {"logits": logits, "labels": labels, "weights": weights, "loss": np.reshape(value, (1,))}
    arrays |= {"probabilities": keras.ops.softmax(logits), "d_logits": d_logits}
    return {f"cross_entropy.{name}": np.array(array) for name, array in arrays.items()}


def make_layers():
    arrays = {}
    for seed, case in enumerate(LAYERS):
        arrays |= make_layer_case(case, seed)
    arrays |= make_cross_entropy()
    cases = {case: {"layer": spec, "training": training} for case, (spec, _, training) in LAYERS.items()}
    return arrays, {"cases": cases}


def draw_curve(seed, n=20):
    """A falling, then stalling curve with noise, of values that float32 and a short decimal hold."""
    rng = random(7, seed)
    epochs = np.arange(n)
    return [round(float(v), 4) for v in 0.9 + 0.8 * np.exp(-epochs / 3) + rng.normal(0, 0.03, n) + 0.01 * epochs]


PLATEAU = [
    {"patience": 5, "factor": 0.1, "min_delta": 1e-4, "cooldown": 0, "min_lr": 0.0},  # Keras' defaults, the study's 5
    {"patience": 2, "factor": 0.5, "min_delta": 1e-4, "cooldown": 0, "min_lr": 0.0},
    {"patience": 2, "factor": 0.1, "min_delta": 0.05, "cooldown": 3, "min_lr": 2e-5},
    {"patience": 1, "factor": 0.3, "min_delta": 0.0, "cooldown": 1, "min_lr": 1e-4},
]
EARLY_STOPPING = [
    {"patience": 3, "min_delta": 0.0},
    {"patience": 5, "min_delta": 0.0},
    {"patience": 3, "min_delta": 0.05},
    {"patience": 0, "min_delta": 0.0},
    {"patience": 19, "min_delta": 0.0},
]


def tiny_model():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss="mse")
    return model


def run_plateau(options, losses):
    """Keras' ReduceLROnPlateau on the losses: the rate in force after each epoch."""
    model = tiny_model()
    callback = keras.callbacks.ReduceLROnPlateau(monitor="val_loss", **options)
    callback.set_model(model)
    callback.on_train_begin()
    rates = []
    for epoch, loss in enumerate(losses):
        callback.on_epoch_end(epoch, {"val_loss": loss})
        rates.append(float(model.optimizer.learning_rate.numpy()))
    return rates


def run_early_stopping(options, losses):
    """Keras' EarlyStopping on the losses: the epoch (from 0) it stops after, or None, and the epoch whose weights stay."""
    model = tiny_model()
    callback = keras.callbacks.EarlyStopping(monitor="val_loss", restore_best_weights=True, **options)
    callback.set_model(model)
    callback.on_train_begin()
    stopped = None
    for epoch, loss in enumerate(losses):
        model.set_weights([np.full((1, 1), epoch, np.float32), np.zeros(1, np.float32)])
        callback.on_epoch_end(epoch, {"val_loss": loss})
        if model.stop_training:
            stopped = epoch
            break
    callback.on_train_end()
    return {"stopped_epoch": stopped, "best_epoch": callback.best_epoch, "kept_epoch": int(model.get_weights()[0][0, 0])}


def make_schedules():
    curves = [draw_curve(seed) for seed in range(3)]
    return {
        "initial_rate": 1e-3,
        "plateau": [
            {**options, "losses": losses, "rates": run_plateau(options, losses)}
            for options in PLATEAU
            for losses in curves
        ],
        "early_stopping": [
            {**options, "losses": losses, **run_early_stopping(options, losses)}
            for options in EARLY_STOPPING
            for losses in curves
        ],
    }


def count_metrics(labels, predicted, n_classes):
    """Metrics by their definitions; a class without true or predicted rows counts as 0, and every class counts in the
    macro mean (scikit-learn: labels=range(n_classes), zero_division=0). recall of an absent class is 0 here too."""
    confusion = np.zeros((n_classes, n_classes), np.int64)  # (true, predicted)
    np.add.at(confusion, (labels, predicted), 1)
    hits, truth, said = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    recall = hits / np.maximum(truth, 1)
    precision = hits / np.maximum(said, 1)
    f1 = 2 * hits / np.maximum(truth + said, 1)
    return {
        "confusion": confusion.tolist(),
        "accuracy": float(hits.sum() / len(labels)),
        "recall": recall.tolist(),
        "precision": precision.tolist(),
        "f1": f1.tolist(),
        "macro_f1": float(f1.mean()),
        "weighted_f1": float((f1 * truth).sum() / len(labels)),
    }


def make_metrics():
    cases = []
    for seed, (n, true_classes, said_classes) in enumerate(
        [(60, (0, 1, 2, 3), (0, 1, 2, 3)), (40, (0, 1, 2, 3), (0, 3)), (30, (0, 2), (0, 1, 2, 3)), (1, (2,), (2,))]
    ):
        rng = random(8, seed)
        labels = rng.choice(true_classes, n)
        predicted = np.where(rng.random(n) < 0.5, labels, rng.choice(said_classes, n))
        if len(said_classes) == 2:  # two classes never said
            predicted = rng.choice(said_classes, n)
        cases.append(
            {
                "n_classes": 4,
                "labels": labels.tolist(),
                "predicted": predicted.tolist(),
                **count_metrics(labels, predicted, 4),
            }
        )
    return {"cases": cases}


def make_all():
    """{file name: (arrays, metadata) or a JSON value}."""
    files = {}
    for seed, name in enumerate(["small_paper", "small_paper_bn", "small_variants", "small_audio", "small_graph",
                                "small_text"]):
        files[f"{name}.safetensors"] = make_inference(name, seed)
    for seed, name in enumerate(TRAINING):
        files[f"{name}.safetensors"] = make_training(name, seed)
    files["layers.safetensors"] = make_layers()
    files["schedules.json"] = make_schedules()
    files["metrics.json"] = make_metrics()
    return files


def tolerance(file, tensor):
    """(relative, absolute). Adam's first steps move a weight by the sign of its gradient, so after ten steps a gradient
    that is nearly 0 may show in the fourth decimal."""
    if file.startswith("training_"):
        return (1e-3, 1e-3) if tensor.startswith("final.") else (2e-5, 1e-6)
    return (1e-5, 5e-6)


def compare_json(path, stored, made):
    if isinstance(made, dict):
        assert stored.keys() == made.keys(), f"{path}: other keys"
        for key, value in made.items():
            compare_json(f"{path}.{key}", stored[key], value)
    elif isinstance(made, list):
        assert len(stored) == len(made), f"{path}: other length"
        for i, value in enumerate(made):
            compare_json(f"{path}[{i}]", stored[i], value)
    elif isinstance(made, float):
        assert abs(stored - made) <= 1e-6 * abs(made), f"{path}: stored {stored}, made {made}"
    else:
        assert stored == made, f"{path}: stored {stored}, made {made}"


def compare_arrays(file, stored, made):
    """The largest absolute difference; an assertion names the tensor that is out of tolerance."""
    assert stored.keys() == made.keys(), f"{file}: other tensors"
    largest = 0.0
    for name, array in made.items():
        assert stored[name].dtype == array.dtype, f"{file} {name}: stored {stored[name].dtype}, made {array.dtype}"
        relative, absolute = tolerance(file, name)
        np.testing.assert_allclose(stored[name], array, relative, absolute, err_msg=f"{file} {name}")
        largest = max(largest, float(np.max(np.abs(stored[name].astype(np.float64) - array))))
    return largest


def check(files):
    for file, content in files.items():
        if file.endswith(".json"):
            compare_json(file, json.loads((FOLDER / file).read_text()), content)
            print(f"{file}: equal")
            continue
        arrays, metadata = keras_model.read_safetensors(FOLDER / file)
        compare_json(file, metadata, json.loads(json.dumps(content[1])))
        print(f"{file}: {len(arrays)} tensors, largest difference {compare_arrays(file, arrays, content[0]):.1e}")


def write(files):
    for file, content in files.items():
        if file.endswith(".json"):
            (FOLDER / file).write_text(json.dumps(content, indent=1) + "\n")
        else:
            keras_model.write_safetensors(FOLDER / file, *content)
    versions = {"keras": keras.__version__, "jax": jax.__version__, "numpy": np.__version__}
    manifest = {"made_by": "make_keras.py", "versions": versions, "files": sorted(files)}
    (FOLDER / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the stored files and write nothing")
    arguments = parser.parse_args()
    files = make_all()
    if not arguments.check:
        write(files)
        return 0
    try:
        check(files)
    except AssertionError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
