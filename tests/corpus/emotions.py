"""What an emotion does to the voice and to the face: the tables behind the demo corpus.

Every number here is invented; the corpus is for testing software, not for science. The directions
follow the literature's commonplaces (anger: fast, bright; sadness: slow, low, dark, little moves).

Strengths: a cue is neutral + strength * intensity * (emotion - neutral), so strength 0 makes all
emotions the same. Each utterance has an intensity of its own and each cue a jitter of its own:
cues overlap, no single one decides.
"""
import numpy as np

INTENSITY = (1.2, 1.8)  # of an utterance, drawn between; times the strength

CLASSES = ("angry", "happy", "neutral", "sad")
CLASS_SHARE = {"angry": 0.22, "happy": 0.28, "neutral": 0.28, "sad": 0.22}

# The label of a class in the corpus' files; happy is hap or exc, as in the release (595 : 1041).
CLASS_OF_LABEL = {"ang": "angry", "hap": "happy", "exc": "happy", "neu": "neutral", "sad": "sad"}
OTHER_LABELS = {"xxx": 0.5, "fru": 0.38, "sur": 0.06, "fea": 0.03, "oth": 0.02, "dis": 0.01}
WORD_OF_LABEL = {
    "ang": "Anger", "hap": "Happiness", "exc": "Excited", "neu": "Neutral", "sad": "Sadness",
    "fru": "Frustration", "sur": "Surprise", "fea": "Fear", "dis": "Disgust", "oth": "Other",
}
# Which class an utterance really expresses when its label is wrong.
CONFUSED_WITH = {
    "angry": {"happy": 0.4, "neutral": 0.35, "sad": 0.25},
    "happy": {"angry": 0.3, "neutral": 0.5, "sad": 0.2},
    "neutral": {"angry": 0.2, "happy": 0.35, "sad": 0.45},
    "sad": {"angry": 0.2, "happy": 0.15, "neutral": 0.65},
}
# Other labels are voiced as mixtures: the class they sound like.
VOICED_AS = {"xxx": "neutral", "fru": "angry", "sur": "happy", "fea": "sad", "oth": "neutral",
             "dis": "angry"}

# pitch: espeak-ng's 0..99 scale, range: per cent of its default, rate: factor,
# tilt: decibels an octave above 500 Hz, level: decibels.
VOICE = {
    "neutral": {"pitch": 0.0, "range": 100.0, "rate": 1.00, "tilt": 0.0, "level": 0.0},
    "happy": {"pitch": 20.0, "range": 170.0, "rate": 1.08, "tilt": 1.5, "level": 2.0},
    "angry": {"pitch": 6.0, "range": 120.0, "rate": 1.24, "tilt": 4.0, "level": 5.0},
    "sad": {"pitch": -14.0, "range": 45.0, "rate": 0.78, "tilt": -4.0, "level": -6.0},
}
VOICE_JITTER = {"pitch": 4.0, "range": 15.0, "rate": 0.06, "tilt": 0.8, "level": 2.0}

# Oscillations per region: (amplitude, frequency in Hz); millimetres, for the head degrees.
MOTION = {
    "neutral": {"mouth": (0.9, 3.0), "cheek": (0.5, 2.5), "brow": (0.4, 1.2), "lid": (0.5, 1.2),
                "head": (1.5, 0.6), "hand": (12.0, 0.7)},
    "happy": {"mouth": (1.9, 4.5), "cheek": (1.5, 4.0), "brow": (0.7, 2.0), "lid": (0.8, 1.8),
              "head": (3.5, 1.3), "hand": (25.0, 1.3)},
    "angry": {"mouth": (1.6, 7.0), "cheek": (0.8, 6.5), "brow": (1.4, 4.0), "lid": (0.9, 3.2),
              "head": (3.0, 2.4), "hand": (40.0, 2.2)},
    "sad": {"mouth": (0.5, 1.6), "cheek": (0.3, 1.3), "brow": (0.9, 0.7), "lid": (0.3, 0.6),
            "head": (0.8, 0.3), "hand": (5.0, 0.3)},
}
# Poses taken while speaking, in units of the region's pose direction (motion.py), millimetres;
# head: degrees of pitch (nodding down is negative).
POSE = {
    "neutral": {"mouth": 0.0, "cheek": 0.0, "brow": 0.0, "lid": 0.0, "head": 0.0},
    "happy": {"mouth": 2.2, "cheek": 1.4, "brow": 0.3, "lid": -0.2, "head": 1.0},
    "angry": {"mouth": -0.4, "cheek": 0.2, "brow": -1.8, "lid": 0.5, "head": -1.0},
    "sad": {"mouth": -1.4, "cheek": -0.5, "brow": 1.2, "lid": -0.6, "head": -4.0},
}
LISTENER = 0.45  # how much of the speaker's emotion the listener's motion shows

# Valence, activation, dominance on the corpus' scale of 1 to 5.
ATTRIBUTES = {"neutral": (3.0, 2.5, 2.7), "happy": (4.2, 3.4, 3.1), "angry": (1.9, 3.8, 3.9),
              "sad": (2.1, 2.1, 2.3)}


def choose(rng, shares):
    """One key of `shares` with probability in proportion to its value."""
    names = sorted(shares)
    weights = np.array([shares[name] for name in names], float)
    return names[int(rng.choice(len(names), p=weights / weights.sum()))]
