"""A small corpus with embeddings, a table of the user's, and a network that reads all of it."""
import numpy as np
from safetensors.numpy import save_file

from test_readers import tone

SIZE = 5
FEATURES = {"mel": {"clip_seconds": 1}, "embedding": {"vec": {"size": SIZE}, "seq": {"size": 3, "frames": 4}}}
N = 8


def vector(i):
    return np.float32(np.random.default_rng(i).normal(size=SIZE) + 3)


def sequence(i):
    return np.float32(np.random.default_rng(100 + i).normal(size=(1 + i % 6, 3)))


def corpus(root, change=lambda root: None, rows=N):
    """vec as .npy, seq in one safetensors file."""
    root.mkdir(parents=True)
    lines = ["id,file,label,speaker,embedding:vec,embedding:seq\n"]
    for i in range(rows):
        tone(root / f"{i}.wav", hz=200 + 40 * i)
        np.save(root / f"{i}.npy", vector(i))
        lines.append(f"u{i},{i}.wav,{'ab'[i % 2]},s{i % 4},{i}.npy,all.safetensors\n")
    save_file({f"u{i}": sequence(i) for i in range(rows)}, root / "all.safetensors")
    (root / "table.csv").write_text("".join(lines))
    change(root)
    return root


NETWORK = {"inputs": {"vec": {"feature": "embedding:vec"}, "seq": {"feature": "embedding:seq", "mask": True, "shape": ["$seq_frames", "$seq_size"]},
                      "audio": {"feature": "mel"}},
           "branches": {"vec": {"input": "vec", "layers": [{"type": "dense", "name": "dense", "units": 4, "activation": "tanh"}]},
                        "seq": {"input": "seq", "layers": [{"type": "lstm", "name": "lstm", "units": 4}]},
                        "audio": {"input": "audio", "layers": [
                            {"type": "time_distributed", "layer": {"type": "flatten", "name": "flatten"}},
                            {"type": "lstm", "name": "lstm", "units": 4}]}},
           "fusion": {"branches": ["vec", "seq", "audio"], "layers": [
               {"type": "concatenate", "name": "all"}, {"type": "dense", "name": "output", "units": "$classes", "activation": "softmax"}]}}
