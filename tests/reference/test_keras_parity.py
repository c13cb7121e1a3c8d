"""Our networks against Keras 3.

Skipped visibly where Keras is not installed. With AFFECT_BINARY (path of the built `affect`) the study's two networks are
initialised by the program, loaded into Keras, and must give the same probabilities; a failing command is a failing test.
Without AFFECT_BINARY that part is skipped, visibly too.
"""

import json
import os
import pathlib
import subprocess
import sys

import pytest

os.environ.setdefault("KERAS_BACKEND", "jax")  # before the first import: Keras' own default is TensorFlow

np = pytest.importorskip("numpy")
pytest.importorskip("jax", reason="jax is not installed (tests/requirements.txt)")
# keras.layers: the folder keras/ beside this file would do as a package named keras where there is no other
pytest.importorskip("keras.layers", reason="keras is not installed (tests/requirements.txt)")
pytest.importorskip("safetensors", reason="safetensors is not installed (tests/requirements.txt)")

HERE = pathlib.Path(__file__).parent
MODELS = HERE.parent.parent / "configs" / "models"
sys.path.insert(0, str(HERE))

import keras_model  # noqa: E402

N_EXAMPLES = 3
FRAMES = 24  # enough to see the recurrence, few enough for Keras' loop over frames


def read_architecture(name):
    return json.loads((MODELS / f"{name}.json").read_text())


@pytest.mark.parametrize(
    "name, n_all, n_trainable, n_tensors",
    [("paper-base", 1127780, 1127780, 40), ("paper-optimized", 1129572, 1128676, 64)],
)
def test_parameter_counts(name, n_all, n_trainable, n_tensors):
    model = keras_model.build(read_architecture(name), keras_model.PAPER_SIZES)
    assert keras_model.count_parameters(model) == (n_all, n_trainable)
    assert len(keras_model.tensors(model)) == n_tensors


def test_branches_alone_share_their_tensors_with_the_whole():
    whole = keras_model.build(read_architecture("paper-optimized"), keras_model.PAPER_SIZES)
    shapes = {name: tuple(v.shape) for name, v in keras_model.tensors(whole).items()}
    for name in ("audio-only", "motion-only"):
        one = keras_model.build(read_architecture(name), keras_model.PAPER_SIZES)
        for tensor, variable in keras_model.tensors(one).items():
            if not tensor.startswith("fusion."):
                assert shapes[tensor] == tuple(variable.shape), tensor


def test_wrong_tensors_are_refused():
    model = keras_model.build(read_architecture("motion-only"), keras_model.PAPER_SIZES)
    arrays = keras_model.get_weights(model)
    kernel = arrays.pop("motion.conv_1.kernel")
    with pytest.raises(ValueError, match="missing .'motion.conv_1.kernel'"):
        keras_model.set_weights(model, arrays)
    with pytest.raises(ValueError, match="motion.conv_1.kernel: float32"):
        keras_model.set_weights(model, {**arrays, "motion.conv_1.kernel": kernel.transpose(2, 1, 0)})


def test_stored_numbers_are_kerass():
    result = subprocess.run([sys.executable, HERE / "make_keras.py", "--check"], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def run_affect(*arguments):
    command = [os.environ["AFFECT_BINARY"], *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}{result.stderr}"


needs_affect = pytest.mark.skipif(
    "AFFECT_BINARY" not in os.environ, reason="AFFECT_BINARY does not name the affect program"
)


def initialise(name, path):
    run_affect("inspect", "--init", MODELS / f"{name}.json", "--seed", 7, "--frames", FRAMES, "-o", path)


def compare_with_keras(name, model, tmp_path):
    """The program's probabilities for random inputs against Keras' with the same model file."""
    inputs, ours = tmp_path / "inputs.safetensors", tmp_path / "ours.safetensors"
    rng = np.random.default_rng(11)
    audio = rng.uniform(0, 1, (N_EXAMPLES, FRAMES, 128, 1)).astype(np.float32)
    motion = rng.normal(0, 1, (N_EXAMPLES, 200, 189)).astype(np.float32)
    keras_model.write_safetensors(inputs, {"audio": audio, "motion": motion})
    run_affect("inspect", model, "--predict", inputs, "-o", ours)

    probabilities = keras_model.read_safetensors(ours)[0]["probabilities"]
    assert probabilities.shape == (N_EXAMPLES, 4)
    assert np.ptp(probabilities, axis=0).max() > 1e-4, "the same answer for every input: the inputs are not used"
    result = subprocess.run(
        [sys.executable, HERE / "load_into_keras.py", model, inputs, "--expect", ours], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
    about, difference = map(json.loads, result.stdout.splitlines())
    assert about["tensors"] == {"paper-base": 40, "paper-optimized": 64}[name]
    assert difference["largest_difference"] <= 1e-5


@needs_affect
@pytest.mark.parametrize("name", ["paper-base", "paper-optimized"])
def test_our_model_file_in_keras(name, tmp_path):
    model = tmp_path / "model.safetensors"
    initialise(name, model)
    compare_with_keras(name, model, tmp_path)


@needs_affect
def test_model_file_written_in_python(tmp_path):
    """Weights as a trained network has them (biases, moving statistics), written by Python's safetensors."""
    first, model = tmp_path / "first.safetensors", tmp_path / "model.safetensors"
    initialise("paper-optimized", first)
    arrays, metadata = keras_model.read_safetensors(first)
    rng = np.random.default_rng(5)
    for name, array in arrays.items():
        if array.ndim == 1:
            array += rng.uniform(0, 0.3, array.shape).astype(np.float32)
    keras_model.write_safetensors(model, arrays, metadata)
    compare_with_keras("paper-optimized", model, tmp_path)
