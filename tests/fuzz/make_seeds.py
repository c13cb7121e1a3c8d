#!/usr/bin/env python3
"""Inputs that fuzzing starts from: small, valid files of each kind, and some that are nearly valid.

    make_seeds.py AFFECT FOLDER        FOLDER/NAME/* for each target fuzz_NAME

AFFECT is the affect program, which makes a model file. tests/fuzz/corpus holds what a campaign found
beyond these, reduced.
"""
import gzip
import io
import json
import pathlib
import struct
import subprocess
import sys
import tarfile
import wave
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
TINY = {
    "name": "tiny",
    "inputs": {"audio": {"feature": "mel", "shape": ["$frames", "$mels", 1]},
               "motion": {"feature": "motion", "shape": ["$parts", "$columns"]}},
    "branches": {
        "audio": {"input": "audio", "layers": [
            {"type": "time_distributed", "layer": {"type": "conv1d", "name": "c", "filters": 2, "kernel_size": 3}},
            {"type": "time_distributed", "layer": {"type": "flatten", "name": "f"}},
            {"type": "bidirectional", "layer": {"type": "lstm", "name": "l", "units": 2}}]},
        "motion": {"input": "motion", "layers": [
            {"type": "maxpool1d", "name": "p", "pool_size": 2},
            {"type": "batch_norm", "name": "b"}, {"type": "flatten", "name": "f"},
            {"type": "dropout", "name": "d", "rate": "$rate"},
            {"type": "dense", "name": "d2", "units": 2, "activation": "relu"}]}},
    "variables": {"rate": 0.3},
    "fusion": {"branches": ["audio", "motion"], "layers": [
        {"type": "concatenate", "name": "c"},
        {"type": "dense", "name": "o", "units": "$classes", "activation": "softmax"}]}}
LABELS = b"""% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]
C-E2:\tNeutral;\t()
C-E3:\tNeutral; Anger;\t()
C-F1:\tNeutral;\t()
A-E3:\tval 3; act 2; dom  2;\t()
A-F1:\tval 2; act 3; dom  2;\t()

[10.0100 - 11.3925]\tSes01F_impro01_M001\txxx\t[2.5000, 2.5000, 2.5000]
C-E2:\tNeutral;\t()
"""
TRANSCRIPTS = b"""Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.
Ses01F_impro01_M001 [010.0100-011.3925]: Do you have your forms?
Ses01F_impro01_FXX0 [011.3925-012.0]: [LAUGHTER]
"""


def safetensors(tensors, metadata):
    header, data = ({"__metadata__": metadata} if metadata else {}), b""
    for name, (dtype, shape, values) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def npy(descr, shape, data, version=1, order=False):
    text = repr({"descr": descr, "fortran_order": order, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text + data


def arrays():
    yield "vector", npy("<f4", (3,), struct.pack("<3f", 1, -2.5, 1e30))
    yield "half", npy("<f2", (2, 2), struct.pack("<4e", 1, -2.5, 6e-8, 65504))
    yield "nan", npy("<f4", (2,), struct.pack("<2f", 1, float("nan")))
    yield "version-2", npy("<f4", (1, 2), bytes(8), version=2)
    yield "fortran", npy("<f4", (2, 1), bytes(8), order=True)
    yield "doubles", npy("<f8", (1,), bytes(8))
    yield "scalar", npy("<f4", (), bytes(4))
    yield "one", safetensors({"u0": ("F16", [2], bytes(4))}, None)
    yield "two", safetensors({"u0": ("F32", [2], bytes(8)), "u1": ("F32", [1], bytes(4))}, None)


def wav(rate=16000, channels=1, width=2, n=4000):
    memory = io.BytesIO()
    with wave.open(memory, "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        file.writeframes(bytes(i * 7 % 251 for i in range(n * channels * width)))
    return memory.getvalue()


def sounds():
    data = wav(n=600)
    yield "wav", data
    yield "wav8", wav(width=1, n=400)
    yield "wav24", wav(width=3, channels=2, n=300)
    yield "short", data[:-100]
    yield "unknown_size", data[:40] + b"\xff\xff\xff\xff" + data[44:]
    samples = struct.pack("<200f", *(i / 200 for i in range(200)))
    yield "float", (b"RIFF" + struct.pack("<I", 36 + len(samples)) + b"WAVEfmt " +
                    struct.pack("<IHHIIHH", 16, 3, 1, 16000, 64000, 4, 32) + b"data" +
                    struct.pack("<I", len(samples)) + samples)
    yield "au", b".snd" + struct.pack(">5I", 24, 400, 3, 16000, 1) + bytes(400)
    yield "aiff", (b"FORM" + struct.pack(">I", 46 + 200) + b"AIFFCOMM" + struct.pack(">IhIh", 18, 1, 100, 16) +
                   bytes.fromhex("400cfa00000000000000") + b"SSND" + struct.pack(">III", 208, 0, 0) + bytes(200))
    try:
        import numpy
        import soundfile
    except ImportError:
        return
    x = numpy.sin(numpy.arange(2000) / 7)
    for kind in ("FLAC", "OGG", "MP3", "CAF", "W64"):
        memory = io.BytesIO()
        soundfile.write(memory, x, 16000, format=kind)
        yield kind.lower(), memory.getvalue()


def archives():
    entries = {"Session1/dialog/EmoEvaluation/Ses01F_impro01.txt": LABELS, "a/b": b"b" * 700, "./c": b"", "x": b"1"}
    for mode, name in (("w:", "tar"), ("w:gz", "tgz")):
        for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
            memory = io.BytesIO()
            with tarfile.open(fileobj=memory, mode=mode, format=form) as archive:
                for entry, data in entries.items():
                    info = tarfile.TarInfo(entry + ("x" * 120 if entry == "x" and form else ""))
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
                for kind, entry in ((tarfile.DIRTYPE, "folder"), *(((tarfile.SYMTYPE, "link"),) if form == 0 else ())):
                    info = tarfile.TarInfo(entry)
                    info.type, info.linkname = kind, "../../target"
                    archive.addfile(info)
            yield f"{name}{form}", memory.getvalue().rstrip(b"\0") + bytes(1024) if mode == "w:" else memory.getvalue()
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        memory = io.BytesIO()
        with zipfile.ZipFile(memory, "w", compression) as archive:
            for entry, data in entries.items():
                archive.writestr(entry, data)
        yield f"zip{compression}", memory.getvalue()
    yield "not", gzip.compress(b"not a tar archive, but gzip")


def motion():
    for i, n in enumerate((165, 6, 18)):
        rows = "".join(f"{r} {6 + r / 120:.3f} " + " ".join(f"{(r * n + c) % 97 - 48.5:.5f}" for c in range(n)) + "\n"
                       for r in range(7))
        names = "Frame# Time " + " ".join(f"V{c}" for c in range(n)) + "\nheader\n"
        yield f"rows{n}", bytes([i]) + (names + rows).encode()
        yield f"pieces{n}", bytes([i + 3 * 40]) + (names + rows).replace("\n", "\r\n").encode()
    yield "numbers", b"\x01h\n\nh\n0 1e0 NaN -Inf +1.5e-3 .5 5. 1e400\n1 1.5 nan inf infinity 12345678901234567890123 -0 1e-400\n"


def texts(folder):
    for path in sorted((ROOT / "configs").rglob("*.json")):
        yield path.stem, path.read_bytes()
    yield "tiny", json.dumps(TINY).encode()


def requests():
    """(target, name, bytes) of what goes to the server."""
    for i, target in enumerate((b"/v1/jobs?limit=3&after=job_1", b"/v1/jobs/%6a/events?after=0", b"/a%20b+c?x=%2B+y&&z=&=1", b"/", b"/..//.?")):
        yield "target", f"t{i}", target
        yield "request", f"t{i}", b"GET " + target + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n"
    body = b'{"type": "train", "dataset": "d", "model": "m", "training": {"epochs": 2}}'
    head = b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    yield "request", "json", head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    yield "request", "chunked", head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    yield "request", "expect", head + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n"
    yield "request", "two", b"HEAD /openapi.json HTTP/1.1\r\nHost: h\r\nRange: bytes=0-9\r\n\r\nGET /metrics HTTP/1.0\r\n\r\n"
    yield "request", "conditions", (b"DELETE /v1/datasets/d HTTP/1.1\r\nHost: [::1]:80\r\nOrigin: http://[::1]:80\r\nIf-Match: \"a\", W/\"b\"\r\n"
                                    b"Last-Event-ID: 7\r\nIdempotency-Key: k\r\nX-Request-Id: r\r\n\r\n")
    part = b"--xyz\r\nContent-Disposition: form-data; name=\"%s\"%s\r\n\r\n%s\r\n"
    parts = part % (b"model", b"", b"m") + part % (b"audio", b"; filename=\"a.wav\"\r\nContent-Type: audio/wav", wav(n=20))
    for i in range(2):
        yield "multipart", f"predict{i}", bytes([2 * i * 8]) + parts + b"--xyz--\r\n"
    yield "multipart", "dataset", b"\1" + part % (b"name", b"", b"d") + part % (b"archive", b"; filename=\"a\"", bytes(600)) + b"--xyz--\r\n"
    yield "multipart", "twice", b"\0" + parts + parts + b"--xyz--\r\n"
    yield "multipart", "cut", b"\0" + parts
    yield "multipart", "preamble", b"\0before\r\n" + parts + b"--xyz--\r\nafter"
    tag = b'"0123456789abcdef"'
    for i, lines in enumerate(((b"bytes=2-5",), (b"bytes=-3", tag), (b"bytes=7-", b'"x"'), (b"bytes=0-1,3-4",), (b"bytes=20-30",), (b"bytes=--5",),
                               (b"", b"", tag), (b"", b"", b"*"), (b"", b"", b'"a", W/' + tag), (b"bytes=0-0", b"", b"", tag))):
        yield "conditions", f"c{i}", b"\n".join(lines)


def seeds(affect, folder):
    yield from requests()
    yield "json", "values", b'{"a": [1, -2.5e-7, true, false, null, "\\u00e9\\ud83d\\ude00\\n"], "": {}, "b": [[[[]]]]}'
    for name, data in texts(folder):
        if len(data) < 6000:
            yield "json", name, data
            yield "architecture", name, data
    tensors = {"a": ("F32", [2, 3], bytes(24)), "b": ("I64", [1], bytes(8)), "c": ("U8", [0], b"")}
    yield "safetensors", "some", safetensors(tensors, {"format": '"x"', "n": "[1]"})
    yield "safetensors", "plain", safetensors({"x": ("F64", [], bytes(8))}, None)
    yield "safetensors", "empty", safetensors({}, None)
    architecture, model = folder / "tiny.json", folder / "tiny.safetensors"
    architecture.write_text(json.dumps(TINY))
    subprocess.run([affect, "inspect", "--init", architecture, "--output", model, "--frames", "5", "--mels", "8",
                    "--parts", "4", "--columns", "3", "--classes", "2"], check=True, stdout=subprocess.DEVNULL)
    yield "model", "tiny", model.read_bytes()
    for name, data in motion():
        yield "motion", name, data
    for name, data in arrays():
        yield "array", name, data
    yield "table", "csv", b'\xef\xbb\xbffile,label,text\r\n1.wav,"a ""b"",\r\nc",x\r\n2.wav,b,\n'
    yield "table", "tsv", b'\tfile\tlabel\n\t1.wav\t"a'
    yield "table", "quotes", b'a"b,"c"d,""\n"\n"\n"""",,"'
    yield "table", "open_quotes", b"file,label\n" + b'x","\n' * 20 + b'1.wav,"a"\n'
    yield "table", "pattern", b'^(?<speaker>[0-9]{2})(?<label>.)(a+)*$\n03Waaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!\n'
    yield "iemocap", "both", LABELS + b"\0" + TRANSCRIPTS
    yield "iemocap", "name", b"IEMOCAP_full_release/Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav"
    yield "iemocap", "name2", b"./x/Session5/dialog/MOCAP_hand/Ses05M_script01_1b.txt"
    for name, data in sounds():
        yield "sound", name, data
    for name, data in archives():
        yield "archive", name, data


def main():
    folder = pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for target, name, data in seeds(sys.argv[1], folder):
        (folder / target).mkdir(exist_ok=True)
        (folder / target / name).write_bytes(data)


if __name__ == "__main__":
    main()
