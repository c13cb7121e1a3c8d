"""Reference numbers of librosa 0.11.0 for engine/audio, from the stored recordings in librosa/*.wav.

    python make_librosa.py --check    recompute and compare by tolerance (exit code 1 on a difference)
    python make_librosa.py            recompute and rewrite the .npy files

For each wav (16 kHz, mono, PCM16): NAME_mel (power), NAME_db; NAME_y22050_soxrhq, the signal as
librosa.load resamples it to 22 050 Hz, and NAME_22050_db of it; NAME_pad16s_db of the clip padded with
zeros to 16 s. option_*_db: the other values of our config fields. Arrays are librosa's: (bands, frames).
librosa's defaults: n_fft 2048, hop 512, periodic Hann, centred, zero padding, 128 Slaney bands.
chirp_1s.flac: the first second of the chirp, for the reader of sound files.
"""
import argparse
import pathlib
import sys

import librosa
import numpy as np
import soundfile

HERE = pathlib.Path(__file__).parent / "librosa"
PADDED = ("chirp", "speech")
# name: (melspectrogram arguments, power_to_db arguments), all of the first second of the speech.
OPTIONS = {
    "htk": (dict(n_mels=40, htk=True), {}),
    "norm_none": (dict(n_mels=40, norm=None), {}),
    "power_1": (dict(n_mels=40, power=1.0), {}),
    "reference_one": (dict(n_mels=40), dict(ref=1.0)),
    "top_db_30": (dict(n_mels=40), dict(top_db=30.0, amin=1e-5)),
    "window": (dict(n_mels=40, n_fft=1024, hop_length=160, win_length=401, fmin=80.0, fmax=6000.0), {}),
}


def decibels(power, **options):
    return librosa.power_to_db(power, **{"ref": np.max, **options})


def compute():
    """All arrays by file name."""
    arrays = {}
    for path in sorted(HERE.glob("*_16k.wav")):
        name = path.name.removesuffix("_16k.wav")
        samples, rate = librosa.load(path, sr=None)
        power = librosa.feature.melspectrogram(y=samples, sr=rate)
        arrays[name + "_mel"] = power
        arrays[name + "_db"] = decibels(power)
        resampled, _ = librosa.load(path, sr=22050)
        arrays[name + "_y22050_soxrhq"] = resampled
        arrays[name + "_22050_db"] = decibels(librosa.feature.melspectrogram(y=resampled, sr=22050))
        if name in PADDED:
            padded = librosa.util.fix_length(samples, size=16 * rate)
            arrays[name + "_pad16s_db"] = decibels(librosa.feature.melspectrogram(y=padded, sr=rate))
        if name == "speech":
            for option, (mel, db) in OPTIONS.items():
                power = librosa.feature.melspectrogram(y=samples[:rate], sr=rate, **mel)
                arrays[f"option_{option}_db"] = decibels(power, **db)
    return arrays


def compare(name, stored, computed):
    """A line on the difference, and whether it is within tolerance."""
    if stored.shape != computed.shape:
        return f"{name}: shape {stored.shape}, now {computed.shape}", False
    difference = np.abs(stored.astype(np.float64) - computed)
    if name.endswith("_mel"):
        difference = difference / max(computed.max(), 1e-10)
        limits = 1e-6, 1e-6
    elif name.endswith("_db"):
        limits = 5e-3, 1e-4
    else:
        limits = 1e-5, 1e-6
    most, usual = difference.max(), np.quantile(difference, 0.99)
    return f"{name}: max {most:.2e}, 99 % {usual:.2e}", most <= limits[0] and usual <= limits[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the stored arrays, write nothing")
    check = parser.parse_args().check
    failed = False
    for name, array in compute().items():
        if check:
            line, good = compare(name, np.load(HERE / f"{name}.npy"), array)
            print(line if good else f"{line}  DIFFERS")
            failed |= not good
        else:
            np.save(HERE / f"{name}.npy", np.ascontiguousarray(array))
    if not check:
        samples, rate = soundfile.read(HERE / "chirp_16k.wav", dtype="int16")
        soundfile.write(HERE / "chirp_1s.flac", samples[:rate], rate)
    sys.exit(failed)


if __name__ == "__main__":
    main()
