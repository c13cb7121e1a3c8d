"""Sentences spoken by espeak-ng, shaped by speaker and emotion; 16 kHz mono.

espeak-ng sets pitch, pitch range and rate; spectral tilt, the dialog's colour and the conversion of
its 22 050 Hz to 16 000 Hz are one multiplication in the frequency domain. Only numpy is needed.
"""
import functools
import shutil
import subprocess

import numpy as np

from emotions import INTENSITY, VOICE, VOICE_JITTER

RATE = 16000

SENTENCES = """I will call you back this evening.|The train leaves at a quarter past nine.
You said that you would be here.|We have to talk about the house.|There is a letter on the table.
I did not know what to say.|They are waiting for us outside.|Please give me the other form.
It has been raining since Monday.|She told me about the new job.|Nobody asked you to come along.
I have seen this picture before.|Put the keys back where they were.|He is going to be there too.
That is what I wanted to hear.|We could go to the beach tonight.|The lady behind the desk sent me.
Did you read what they wrote?|I am standing in the wrong line.|My brother lives in that street.
The water is colder than last year.|You never told me his name.|Let me look at the ticket again.
I think we should leave now.|How long have you been here?|The doctor will see you in a minute.
It is the third time this week.|We are going to get married.|She left the window open.
There is nothing in the box.|I need your number and your name.|That was not part of the plan.
You can sit down over there.|He lost his bag at the airport.|Tell me when you are ready.
I have worked here for ten years.|The fish are running tonight.|Bring the paper with you.
They moved to another town.|Open the door for the children.|What are you doing with that?
We bought it two days ago.|I would like to see the moon.|The phone is in the kitchen.
""".replace("\n", "|").strip("|").split("|")

VOICES = {
    "F": ("en-us+f2", "en-gb+f3", "en-us+f4", "en-gb-scotland+f1", "en-gb-x-rp+f5"),
    "M": ("en-us+m3", "en-gb+m1", "en-us+m7", "en-gb-scotland+m4", "en-gb-x-rp+m5"),
}


def have_espeak():
    return shutil.which("espeak-ng") is not None


def espeak_version():
    """"eSpeak NG text-to-speech: 1.51". 1.52 (Debian 13) gives now and then other samples for the
    same sentence, so corpora made with it differ a little from run to run."""
    text = subprocess.run(["espeak-ng", "--version"], capture_output=True, text=True, check=True)
    return text.stdout.split("Data at")[0].strip()


@functools.lru_cache(maxsize=512)
def speak(text, voice, pitch, pitch_range, words_per_minute):
    """espeak-ng's samples (float64, -1..1) and their rate; spoken once per distinct request."""
    sentence = f'<speak><prosody range="{pitch_range}%">{text}</prosody></speak>'
    command = ["espeak-ng", "-m", "-v", voice, "-p", str(pitch), "-s", str(words_per_minute),
               "--stdout", sentence]
    # With --stdout the sizes in the header are placeholders: the samples are whatever follows it.
    wav = subprocess.run(command, capture_output=True, check=True).stdout
    if wav[:4] != b"RIFF" or wav[36:40] != b"data":
        raise RuntimeError(f"espeak-ng: unexpected output for {command}")
    rate = int.from_bytes(wav[24:28], "little")
    n_samples = (len(wav) - 44) // 2
    return np.frombuffer(wav, "<i2", n_samples, 44) / 32768.0, rate


def shape_spectrum(samples, rate, gain_at):
    """`samples` at `rate`, converted to 16 kHz and multiplied by gain_at(frequencies in Hz)."""
    block = rate // np.gcd(rate, RATE)
    n_in = -(-(len(samples) + rate // 20) // block) * block
    n_out = n_in * RATE // rate
    spectrum = np.fft.rfft(samples, n_in)[: n_out // 2 + 1]
    hz = np.arange(len(spectrum)) * rate / n_in
    edge = np.clip((RATE / 2 - hz) / 400.0, 0.0, 1.0)  # a soft end at the new Nyquist frequency
    shaped = np.zeros(n_out // 2 + 1, complex)
    shaped[: len(spectrum)] = spectrum * gain_at(hz) * edge
    return np.fft.irfft(shaped, n_out) * (n_out / n_in)


def tilt_gain(hz, db_per_octave):
    """0 dB at 500 Hz and below, then so many decibels an octave."""
    octaves = np.log2(np.maximum(hz, 500.0) / 500.0)
    return 10.0 ** (db_per_octave * octaves / 20.0)


def speaker_voice(rng, letter, index, strength):
    """How a speaker differs from the others of that letter. From strength 0.5 on each of five has
    an espeak-ng voice of its own; below only pitch, rate and tilt differ."""
    pitch, rate, tilt = rng.normal(0.0, 1.0, 3)
    voices = VOICES[letter]
    return {"voice": voices[index % len(voices)] if strength >= 0.5 else voices[0],
            "pitch": 5.0 * strength * pitch, "rate": 0.05 * strength * rate,
            "tilt": 0.8 * strength * tilt}


def dialog_colour(rng, strength):
    """Colour and noise of one take. strength 0: the same for every dialog."""
    bands_db = rng.normal(0.0, 5.0 * strength, 9)
    noise_db = -58.0 + 4.0 * strength * rng.normal()
    return {"bands_db": bands_db, "noise_db": noise_db}


def colour_gain(hz, colour):
    centres = np.log2(np.geomspace(60.0, 8000.0, len(colour["bands_db"])))
    level = np.interp(np.log2(np.maximum(hz, 1.0)), centres, colour["bands_db"])
    return 10.0 ** (level / 20.0)


def add_noise(samples, rng, colour):
    noise = np.fft.rfft(rng.normal(0.0, 1.0, len(samples)))
    hz = np.arange(len(noise)) * RATE / len(samples)
    noise = np.fft.irfft(noise * colour_gain(hz, colour), len(samples))
    return samples + 0.3 * 10.0 ** (colour["noise_db"] / 20.0) * noise


def utterance(rng, text, speaker, emotion, strength, colour, max_seconds):
    """Speaks `text`: 16 kHz samples as int16, at most max_seconds."""
    cue = {}
    intensity = strength * rng.uniform(*INTENSITY)
    for name, neutral in VOICE["neutral"].items():
        cue[name] = neutral + intensity * (VOICE[emotion][name] - neutral)
        cue[name] += rng.normal(0.0, VOICE_JITTER[name])
    # Rounded, so that the same request comes again.
    pitch = int(np.clip(2 * round((50.0 + cue["pitch"] + speaker["pitch"]) / 2), 0, 99))
    pitch_range = int(np.clip(10 * round(cue["range"] / 10), 10, 250))
    rate = int(np.clip(5 * round(170.0 * (cue["rate"] + speaker["rate"]) / 5), 90, 320))
    spoken, spoken_hz = speak(text, speaker["voice"], pitch, pitch_range, rate)

    tilt = cue["tilt"] + speaker["tilt"]
    samples = shape_spectrum(spoken, spoken_hz,
                             lambda hz: tilt_gain(hz, tilt) * colour_gain(hz, colour))
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max())
    first, last = max(loud[0] - 800, 0), loud[-1] + 800
    samples = samples[first: min(last, first + int(max_seconds * RATE))]
    fade = np.minimum(1.0, np.arange(len(samples)) / 160.0)
    samples = samples * fade * fade[::-1]
    samples *= 0.35 / np.abs(samples).max()
    samples = add_noise(samples, rng, colour) * 10.0 ** (np.clip(cue["level"], -12, 8) / 20.0)
    return np.clip(np.rint(samples * 32767.0), -32768, 32767).astype("<i2")
