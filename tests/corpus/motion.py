"""Motion capture of one dialog: 55 face markers, head pose and hands at 119.88 frames a second.

The face is a neutral shape (the speaker's own) plus a few latent movements per region, each an
oscillation whose amplitude and frequency belong to emotion and speaker, plus a pose that comes and
goes with the turn, plus speech (the jaw follows the sound) in the marker wearer's own turns, plus
sensor noise. A dialog's signature moves every marker by a constant of its own (a new take).
"""
import numpy as np

from emotions import INTENSITY, LISTENER, MOTION, POSE

FRAMES_PER_SECOND = 119.88


def _numbered(prefix, first, last):
    return [f"{prefix}{number}" for number in range(first, last + 1)]


MARKERS = (_numbered("CH", 1, 3) + _numbered("FH", 1, 3) + _numbered("LC", 1, 8)
           + _numbered("RC", 1, 8) + ["LLID", "RLID", "MH", "MNOSE", "LNSTRL", "TNOSE", "RNSTRL"]
           + _numbered("LBM", 0, 3) + _numbered("RBM", 0, 3) + _numbered("LBRO", 1, 4)
           + _numbered("RBRO", 1, 4) + _numbered("Mou", 1, 8) + ["LHD", "RHD"])
ORIGIN = MARKERS.index("TNOSE")  # the frame's origin: constantly 0
HANDS = [f"{side}{number}" for side in ("RH", "LH") for number in (1, 2, 3)]
HEAD = ("pitch", "roll", "yaw", "tra_x", "tra_y", "tra_z")

REGION_OF_PREFIX = {"CH": "mouth", "Mou": "mouth", "LC": "cheek", "RC": "cheek", "LLID": "lid",
                    "RLID": "lid", "LBM": "brow", "RBM": "brow", "LBRO": "brow", "RBRO": "brow"}
REGIONS = ("mouth", "cheek", "brow", "lid")
N_LATENTS = 3  # oscillations per region


def region_of(marker):
    return REGION_OF_PREFIX.get(marker.rstrip("0123456789"))


def neutral_face():
    """(55, 3) millimetres from the tip of the nose: x to the left, y up, z to the front."""
    face = np.zeros((len(MARKERS), 3))
    fixed = {"LLID": (30, 32, -18), "RLID": (-30, 32, -18), "MH": (0, 78, -12),
             "MNOSE": (0, 25, -8), "LNSTRL": (12, -6, -10), "RNSTRL": (-12, -6, -10),
             "TNOSE": (0, 0, 0), "LHD": (72, 90, -70), "RHD": (-72, 90, -70)}
    for index, name in enumerate(MARKERS):
        prefix, digits = name.rstrip("0123456789"), name[len(name.rstrip("0123456789")):]
        step = int(digits) if digits else 0
        side = -1.0 if name.startswith("R") else 1.0
        if name in fixed:
            face[index] = fixed[name]
        elif prefix == "CH":
            face[index] = ((step - 2) * 18.0, -62.0, -18.0)
        elif prefix == "FH":
            face[index] = ((step - 2) * 32.0, 88.0, -16.0)
        elif prefix in ("LC", "RC"):
            row, column = divmod(step - 1, 3)
            face[index] = (side * (26.0 + 15.0 * column), 4.0 - 18.0 * row, -16.0 - 12.0 * column)
        elif prefix in ("LBM", "RBM"):
            face[index] = (side * (14.0 + 12.0 * step), 58.0 + 2.0 * (step % 2), -13.0)
        elif prefix in ("LBRO", "RBRO"):
            face[index] = (side * (10.0 + 13.0 * step), 48.0 - 2.0 * step, -14.0)
        else:  # Mou1..8: an ellipse
            angle = np.pi * (step - 1) / 4.0
            face[index] = (24.0 * np.cos(angle), -34.0 + 9.0 * np.sin(angle), -8.0)
    return face


def pose_directions():
    """For each region (55, 3): how its markers move for one unit of pose. Mouth: corners up and
    out; cheek: up; brow: inner ends up; lid: down."""
    face = neutral_face()
    directions = {region: np.zeros_like(face) for region in REGIONS}
    for index, name in enumerate(MARKERS):
        region, outward = region_of(name), np.sign(face[index, 0])
        if region == "mouth":
            corner = abs(face[index, 0]) / 24.0
            directions[region][index] = (0.6 * outward * corner, 0.9 * corner, -0.2 * corner)
        elif region == "cheek":
            directions[region][index] = (0.2 * outward, 0.8, 0.3)
        elif region == "brow":
            directions[region][index] = (0.15 * outward, 1.3 - abs(face[index, 0]) / 70.0, 0.0)
        elif region == "lid":
            directions[region][index] = (0.0, -0.7, 0.1)
    return directions


def _speech_weights():
    """(165,) how far one unit of open mouth moves each marker."""
    weights = np.zeros((len(MARKERS), 3))
    for index, name in enumerate(MARKERS):
        if name.startswith("CH"):
            weights[index] = (0.0, -1.0, -0.2)
        elif name.startswith("Mou") and neutral_face()[index, 1] < -34.5:
            weights[index] = (0.0, -0.8, 0.0)
        elif name.startswith(("LC", "RC")):
            weights[index] = (0.0, -0.15, 0.0)
    return weights.ravel()


def _latent_weights():
    """(n_regions * N_LATENTS, 165): directions of the oscillations, the same for everybody."""
    rng = np.random.default_rng(55)
    weights = np.zeros((len(REGIONS) * N_LATENTS, len(MARKERS), 3))
    for row in range(len(weights)):
        for index, name in enumerate(MARKERS):
            if region_of(name) == REGIONS[row // N_LATENTS]:
                weights[row, index] = rng.normal(0.0, 0.6, 3)
    return weights.reshape(len(weights), -1)


DIRECTIONS = pose_directions()
POSE_WEIGHTS = np.stack([DIRECTIONS[region].ravel() for region in REGIONS])
LATENT_WEIGHTS = _latent_weights()
SPEECH_WEIGHTS = _speech_weights()


def speaker_motion(rng, strength):
    """How a speaker's face and habits differ."""
    return {"shape": 2.0 * strength * rng.normal(0.0, 1.0, (len(MARKERS), 3)),
            "amplitude": {name: np.exp(0.25 * strength * rng.normal())
                          for name in sorted(MOTION["neutral"])},
            "frequency": {name: np.exp(0.12 * strength * rng.normal())
                          for name in sorted(MOTION["neutral"])},
            "head": strength * rng.normal(0.0, 2.0, 6)}


def dialog_take(rng, strength):
    """A dialog's signature: where the markers were stuck on and the camera stood this time."""
    return {"face": 3.0 * strength * rng.normal(0.0, 1.0, (len(MARKERS), 3)),
            "head": 4.0 * strength * rng.normal(0.0, 1.0, 6),
            "hand": 30.0 * strength * rng.normal(0.0, 1.0, 18)}


def _between(neutral, emotional, amount):
    """Amplitude or frequency, moved from neutral to emotional on a logarithmic scale."""
    return neutral * (emotional / neutral) ** amount


def _oscillation(rng, seconds, amplitude, hz):
    """A sine with a wandering phase."""
    nodes = np.arange(seconds[0], seconds[-1] + 0.8, 0.4)
    wander = np.interp(seconds, nodes, rng.normal(0.0, 0.6, len(nodes)))
    return amplitude * np.sin(2.0 * np.pi * (hz * seconds + rng.uniform()) + wander)


def _fade(seconds, start, end):
    """0 outside the turn, 1 inside, with edges of 0.15 s."""
    return np.clip(np.minimum(seconds - start, end - seconds) / 0.15 + 1.0, 0.0, 1.0)


class DialogMotion:
    """Collects turns, then gives the three arrays. Times are seconds from the dialog's start."""

    def __init__(self, rng, duration_s, speaker, take, strength):
        self.rng, self.speaker, self.take, self.strength = rng, speaker, take, strength
        self.turn_ends = []
        n_rows = int(np.ceil(duration_s * FRAMES_PER_SECOND))
        self.seconds = np.arange(n_rows) / FRAMES_PER_SECOND
        self.latents = np.zeros((n_rows, len(LATENT_WEIGHTS)))
        self.poses = np.zeros((n_rows, len(REGIONS)))
        self.jaw = np.zeros(n_rows)
        self.head = np.zeros((n_rows, 6))
        self.hand = np.zeros((n_rows, 18))

    def add_turn(self, start, end, emotion, own, jaw=None):
        """own: the wearer speaks. jaw: (n,) opening in 0..1 over the turn, or None."""
        rows = slice(np.searchsorted(self.seconds, start - 0.15),
                     np.searchsorted(self.seconds, end + 0.15))
        seconds = self.seconds[rows]
        if len(seconds) < 2:
            return
        self.turn_ends.append(end)
        fade = _fade(seconds, start, end)
        amount = self.strength * (1.0 if own else LISTENER) * self.rng.uniform(*INTENSITY)
        for number, region in enumerate(REGIONS):
            amplitude, hz = self._dynamics(emotion, region, amount)
            for latent in range(N_LATENTS):
                wave = _oscillation(self.rng, seconds, amplitude,
                                    hz * np.exp(0.15 * self.rng.normal()))
                self.latents[rows, number * N_LATENTS + latent] += fade * wave
            pose = amount * POSE[emotion][region] + 0.7 * self.rng.normal()
            self.poses[rows, number] += fade * pose
        if own and jaw is not None:
            inside = np.interp(seconds, np.linspace(start, end, len(jaw)), jaw, left=0, right=0)
            self.jaw[rows] += 5.0 * inside
        self._add_head_and_hands(rows, seconds, fade, emotion, amount)

    def _dynamics(self, emotion, region, amount):
        """Amplitude and frequency of a region in this turn."""
        (amplitude_0, hz_0), (amplitude, hz) = MOTION["neutral"][region], MOTION[emotion][region]
        amplitude = _between(amplitude_0, amplitude, amount) * np.exp(0.25 * self.rng.normal())
        hz = _between(hz_0, hz, amount) * np.exp(0.15 * self.rng.normal())
        return amplitude * self.speaker["amplitude"][region], hz * self.speaker["frequency"][region]

    def _add_head_and_hands(self, rows, seconds, fade, emotion, amount):
        amplitude, hz = self._dynamics(emotion, "head", amount)
        for column, weight in enumerate((1.0, 0.4, 0.8, 1.0, 1.0, 0.6)):
            self.head[rows, column] += fade * weight * _oscillation(self.rng, seconds, amplitude, hz)
        self.head[rows, 0] += fade * (amount * POSE[emotion]["head"] + 1.5 * self.rng.normal())
        amplitude, hz = self._dynamics(emotion, "hand", amount)
        for hand in range(2):
            for axis in range(3):
                wave = fade * _oscillation(self.rng, seconds, amplitude, hz)
                self.hand[rows, hand * 9 + axis: hand * 9 + 9: 3] += wave[:, None]

    def _drift(self, n_columns, step):
        """Wandering that carries no emotion: new values every second, so that neighbouring turns do
        not resemble each other more than others."""
        nodes = np.arange(0.0, self.seconds[-1] + 2.0)
        values = self.rng.normal(0.0, step, (len(nodes), n_columns))
        return np.stack([np.interp(self.seconds, nodes, values[:, column])
                         for column in range(n_columns)], axis=1)

    def face(self):
        """(n_rows, 165) millimetres."""
        base = neutral_face() + self.speaker["shape"] + self.take["face"]
        face = self.latents @ LATENT_WEIGHTS + self.poses @ POSE_WEIGHTS
        face += self.jaw[:, None] * SPEECH_WEIGHTS + base.ravel()
        face += self.rng.normal(0.0, 0.12, face.shape)
        self._add_bursts(face)
        face[:, 3 * ORIGIN: 3 * ORIGIN + 3] = 0.0
        return face

    def _add_bursts(self, face):
        """Markers that the cameras lose for a moment: about one a second, 0.05 to 0.5 s."""
        for _ in range(self.rng.poisson(self.seconds[-1])):
            first = int(self.rng.integers(len(face)))
            last = first + int(self.rng.integers(6, 60))
            marker = int(self.rng.integers(len(MARKERS)))
            face[first:last, 3 * marker: 3 * marker + 3] = np.nan

    def head_pose(self):
        """(n_rows, 6): degrees, millimetres."""
        offset = self.speaker["head"] + self.take["head"]
        noise = self.rng.normal(0.0, 0.05, self.head.shape)
        return self.head + offset + self._drift(6, 1.5) + noise

    def hands(self, missing):
        """(n_rows, 18) millimetres; `missing`: share of turns in which a hand is not seen at all."""
        base = np.tile([(-180.0 if hand == 0 else 180.0, -350.0, 150.0)
                        for hand in (0, 0, 0, 1, 1, 1)], 1).ravel()
        hands = self.hand + base + self.take["hand"] + self._drift(18, 4.0)
        hands += self.rng.normal(0.0, 0.3, hands.shape)
        edges = np.searchsorted(self.seconds, [0.0] + self.turn_ends[:-1] + [self.seconds[-1] + 1])
        for first, last in zip(edges, edges[1:]):
            for hand in range(2):
                if self.rng.uniform() < missing:
                    hands[first:last, 9 * hand: 9 * hand + 9] = np.nan
        return hands


def jaw_from_sound(samples, rate):
    """Opening of the mouth, 0..1 at about 30 values a second: the sound's envelope."""
    hop = rate // 30
    n_hops = max(len(samples) // hop, 1)
    if len(samples) < hop:
        return np.zeros(1)
    level = np.sqrt(np.mean(samples[: n_hops * hop].astype(float).reshape(n_hops, hop) ** 2, axis=1))
    return level / max(level.max(), 1e-9)
