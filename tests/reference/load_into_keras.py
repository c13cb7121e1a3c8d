"""Loads one of our model files into Keras 3 and runs it on stored inputs.

    python load_into_keras.py MODEL.safetensors INPUTS.safetensors [--expect PROBS.safetensors] [--out PROBS.safetensors]

MODEL's metadata holds "architecture" and "sizes"; nothing else is needed. INPUTS holds one tensor per input of the
architecture, (n, ...) float32. Prints the probabilities as JSON lines, or with --expect the largest difference from the
tensor "probabilities" (n, classes), and exits 1 if that is over --tolerance.
"""

import argparse
import json
import sys

import numpy as np

import keras_model


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("inputs")
    parser.add_argument("--expect", help="safetensors with `probabilities` (n, classes)")
    parser.add_argument("--out", help="write Keras' probabilities here")
    parser.add_argument("--tolerance", type=float, default=1e-5, help="largest absolute difference allowed")
    arguments = parser.parse_args()

    model, metadata = keras_model.load(arguments.model)
    inputs, _ = keras_model.read_safetensors(arguments.inputs)
    probabilities = keras_model.predict(model, inputs)
    n_all, n_trainable = keras_model.count_parameters(model)
    print(
        json.dumps(
            {
                "model": metadata["architecture"].get("name"),
                "parameters": n_all,
                "trainable": n_trainable,
                "tensors": len(keras_model.tensors(model)),
                "keras": keras_model.keras.__version__,
            }
        )
    )
    if arguments.out:
        keras_model.write_safetensors(arguments.out, {"probabilities": probabilities})
    if not arguments.expect:
        for row in probabilities:
            print(json.dumps([float(p) for p in row]))
        return 0
    expected = keras_model.read_safetensors(arguments.expect)[0]["probabilities"]
    if expected.shape != probabilities.shape:
        print(f"shape {expected.shape}, Keras gives {probabilities.shape}", file=sys.stderr)
        return 1
    difference = float(np.max(np.abs(expected.astype(np.float64) - probabilities)))
    is_equal = bool(difference <= arguments.tolerance)  # a NaN is not equal
    print(json.dumps({"examples": len(expected), "largest_difference": difference, "equal": is_equal}))
    return 0 if is_equal else 1


if __name__ == "__main__":
    sys.exit(main())
