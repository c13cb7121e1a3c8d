"""docker/: the image with CUDA is the image without it and a known rest; both are confined alike. Nothing is built here
(tests/container.sh builds and runs docker/Dockerfile)."""
import json
import pathlib
import re
import shlex

import pytest

DOCKER = pathlib.Path(__file__).resolve().parents[2] / "docker"
# What only Dockerfile.cuda has: whole instructions, and words within the shared ones.
ONLY_CUDA = [r"FROM nvidia/cuda:\S+ AS toolkit", r"COPY --from=toolkit /usr/local/cuda-[\d.]+/ /usr/local/cuda/",
             r"COPY --from=build /out/lib/ /usr/local/lib/", r"RUN ldconfig", r"ENV NVIDIA_\w+=\S+ NVIDIA_\w+=\S+"]
ONLY_CUDA_WORDS = ["-DAFFECT_CUDA=ON", "-DCMAKE_CUDA_COMPILER=/usr/local/cuda/bin/nvcc", "affect_cuda"]
ONLY_CUDA_COMMANDS = ["install -D -s -t /out/lib /build/bin/libaffect_cuda.so",
                      "install -D -t /out/lib /usr/local/cuda/lib64/libcublas.so.13 /usr/local/cuda/lib64/libcublasLt.so.13"]


def instructions(name):
    """One line each, blanks made single, comments left out."""
    text = re.sub(r"^\s*#.*\n", "", (DOCKER / name).read_text(), flags=re.M)
    joined = re.sub(r"\\\n", " ", text)
    return [" ".join(line.split()) for line in joined.splitlines() if line.strip()]


def without_cuda(instruction):
    commands = [command for command in instruction.split(" && ") if command not in ONLY_CUDA_COMMANDS]
    return " ".join(word for word in " && ".join(commands).split() if word not in ONLY_CUDA_WORDS)


def test_the_cuda_image_is_the_other_one_and_what_is_listed():
    rest = [without_cuda(line) for line in instructions("Dockerfile.cuda")
            if not any(re.fullmatch(pattern, line) for pattern in ONLY_CUDA)]
    assert rest == instructions("Dockerfile")


def test_every_exception_is_used():
    lines = instructions("Dockerfile.cuda")
    for pattern in ONLY_CUDA:
        assert sum(bool(re.fullmatch(pattern, line)) for line in lines) == 1, pattern
    for part in (*ONLY_CUDA_WORDS, *ONLY_CUDA_COMMANDS):
        assert any(part in line for line in lines), part


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.cuda"])
def test_what_an_image_declares(name):
    lines = instructions(name)
    last = lines[max(i for i, line in enumerate(lines) if line.startswith("FROM ")):]
    find = lambda word: [line.split(" ", 1)[1] for line in last if line.startswith(word + " ")]  # noqa: E731
    assert find("USER") == ["10001:10001"] and find("VOLUME") == ["/data"] and find("EXPOSE") == ["8080"]
    health = json.loads(find("HEALTHCHECK")[0].split(" CMD ")[1])
    start = json.loads(find("ENTRYPOINT")[0])
    assert health[0] == start[0] == "/usr/local/bin/affectd" and "--healthcheck" in health
    assert not any(line.startswith(("ADD ", "ARG ")) for line in lines)


def test_what_is_copied_out_of_a_stage_is_made_there():
    """Every source of COPY --from=build lies below what that stage's `install` filled."""
    for name in ("Dockerfile", "Dockerfile.cuda"):
        lines = instructions(name)
        made = set()
        for line in lines:
            for command in line.removeprefix("RUN ").split(" && "):
                words = shlex.split(command)
                if words[0] == "install" and "-t" in words:
                    folder = words[words.index("-t") + 1]
                    made |= {f"{folder}/{pathlib.PurePath(word).name}" for word in words[words.index("-t") + 2:]}
        for line in lines:
            if line.startswith("COPY --from=build "):
                for source in line.split()[2:-1]:
                    assert source in made or any(path.startswith(source) for path in made if source.endswith("/")), source


def test_compose():
    """Both services are the same but for image and device; the one with a GPU waits for its profile. A line reader is
    enough for this file: no YAML parser is among the tests' packages."""
    text = (DOCKER / "compose.yaml").read_text()
    shared, services = text.split("\nservices:\n")
    for line in ("read_only: true", 'user: "10001:10001"', "cap_drop: [ALL]", 'security_opt: ["no-new-privileges:true"]',
                 '- "127.0.0.1:8080:8080"', "- data:/data"):
        assert line in shared, line
    found = re.split(r"^  (affectd[\w-]*):\n", services.split("\nvolumes:")[0], flags=re.M)
    blocks = dict(zip(found[1::2], found[2::2]))
    assert list(blocks) == ["affectd", "affectd-cuda"]
    for name, block in blocks.items():
        assert "<<: *affectd" in block and f"image: {name}\n" in block
        for key in ("read_only", "user", "ports", "volumes", "privileged"):
            assert f"{key}:" not in block, f"{name} overrides {key}"
    assert "dockerfile: docker/Dockerfile\n" in blocks["affectd"] and "profiles" not in blocks["affectd"]
    cuda = blocks["affectd-cuda"]
    assert "dockerfile: docker/Dockerfile.cuda\n" in cuda and "profiles: [cuda]" in cuda
    assert re.search(r"devices:\s+- driver: nvidia\s+count: 1\s+capabilities: \[gpu\]", cuda)
