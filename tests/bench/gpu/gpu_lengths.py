"""Lengths of clips as IEMOCAP's: log-normal, median 3.58 s, sigma 0.69, 0.585 to 16 s, seed 1; as cpu_table.py draws them."""

import numpy as np


def lengths_like_iemocap(clips, frames, seed=1):
    """Frames of each clip (one each 512 samples at 16 kHz, and one more), at most `frames`."""
    generator = np.random.default_rng(seed)
    seconds = np.clip(np.exp(np.log(3.58) + 0.69 * generator.standard_normal(clips)), 0.585, 16)
    return [int(n) for n in np.minimum(1 + np.floor(seconds * 16000 / 512).astype(int), frames)]
