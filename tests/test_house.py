"""The rules of the house, read from the tree itself: layers, homes of libraries, names, sizes, formatting.

Nothing is built and nothing but the standard library is needed; only formatting wants clang-format.
A rule's exceptions stand beside it, each with its reason.
"""
import collections
import functools
import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
LAYERS = ("engine", "api", "server")
# A folder of engine includes itself and those before it.
ENGINE = ("core", "device", "modality", "dataset", "corpus", "evaluation", "nn", "model", "train", "sweep", "predict", "cli")
LONGEST_FILE = 700  # lines; most are under 400
LONGEST_FUNCTION = 80  # lines; reported, not enforced

# Each third-party header is included by this one file; a pattern per library.
HOMES = {
    r"microhttpd": "server/http.c",
    r"sqlite3": "api/store/store_sqlite.c",
    r"cjson/|cJSON": "engine/core/json.c",
    r"sndfile": "engine/modality/sound_file.c",
    r"soxr": "engine/modality/resample.c",
    r"fftw3": "engine/modality/spectrogram.c",
    r"archive": "engine/corpus/archive.c",
    r"pcre2": "engine/corpus/pattern.c",
    r"seccomp": "engine/core/confine.c",
    r"zlib": "engine/corpus/gzip.c",
    r"cblas": "engine/device/cpu/cpu_gemm.c",
    r"cuda|cublas|cudnn": "engine/device/cuda/",
    r"(cstdio|cstdlib|cstring|cstdint|cmath|new|utility|type_traits|algorithm|mutex|condition_variable)$": "engine/device/cuda/",  # C++, of CUDA only
}
# Headers of the C library and of Linux: anything else in <> is a library that needs a home.
SYSTEM = re.compile(
    r"(assert|complex|cpuid|ctype|dirent|dlfcn|errno|fcntl|fenv|float|ftw|getopt|glob|grp|inttypes|libgen|limits|locale|malloc"
    r"|math|poll|pthread|pwd|regex|sched|semaphore|signal|spawn|stdalign|stdarg|stdatomic|stdbool|stddef|stdint"
    r"|stdio|stdlib|stdnoreturn|string|strings|syslog|termios|tgmath|threads|time|unistd|wchar|wctype|fnmatch"
    r"|(sys|netinet|arpa|net|linux|asm)/\w+|netdb|immintrin|omp)\.h"
)
# engine/cli is the one place in engine that prints and exits; besides it:
MAY_PRINT = {"engine/device/cuda/cuda_backend.cu": "with AFFECT_CUDA_DEBUG=1 kernels are named on stderr",
             "engine/train/job_event.c": "progress bars and lines for people go to the terminal's stderr"}


@functools.cache
def tracked():
    """Files of the tree: git's where there is git, else everything outside build folders and data."""
    if (ROOT / ".git").exists() and shutil.which("git"):
        listed = subprocess.run(
            ["git", "-C", str(ROOT), "-c", f"safe.directory={ROOT}", "ls-files", "-co", "--exclude-standard", "-z"],
            capture_output=True, text=True, check=True).stdout.split("\0")
        found = [name for name in listed if name and (ROOT / name).is_file()]
    else:
        found = [str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if path.is_file()
                 and not re.match(r"build(-\w+)?/|data/|.*__pycache__", str(path.relative_to(ROOT)))]
    assert len(found) > 100, "the tree was not found"
    return sorted(found)


def files(pattern):
    return [name for name in tracked() if re.search(pattern, name)]


def sources():
    return files(r"^(engine|api|server)/.*\.(c|h|cu|cuh)$")


@functools.cache
def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


@functools.cache
def code(name):
    """The text with comments, strings and characters blanked, line by line as it was."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group(0))

    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', blank, read(name), flags=re.S)


def includes(name):
    """(line, "quote" or "angle", path) of each include."""
    for number, line in enumerate(read(name).splitlines(), 1):
        found = re.match(r'\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)', line)
        if found:
            yield number, *(("quote", found[1]) if found[1] else ("angle", found[2]))


def expect_none(found):
    """found: violations, each with its place."""
    found = list(found)
    assert not found, "\n" + "\n".join(found)


def test_includes_point_one_way():
    def wrong():
        for name in sources():
            layer = LAYERS.index(name.split("/")[0])
            for number, kind, path in includes(name):
                if kind != "quote":
                    continue
                if path.split("/")[0] not in LAYERS:
                    yield f"{name}:{number}: \"{path}\" is not a path from the root of the tree"
                elif LAYERS.index(path.split("/")[0]) > layer:
                    yield f"{name}:{number}: {name.split('/')[0]} may not include {path}"
                elif not (ROOT / path).is_file():
                    yield f"{name}:{number}: no file {path}"

    expect_none(wrong())


def test_includes_inside_engine_point_one_way():
    def wrong():
        for name in files(r"^engine/\w+/.*\.(c|h|cu|cuh)$"):
            folder = name.split("/")[1]
            for number, kind, path in includes(name):
                parts = path.split("/")
                if kind == "quote" and parts[0] == "engine" and len(parts) > 2 and ENGINE.index(parts[1]) > ENGINE.index(folder):
                    yield f"{name}:{number}: engine/{folder} may not include {path}"

    expect_none(wrong())


def test_command_line_is_nobodys_dependency():
    expect_none(f"{name}:{number}: only engine/cli includes {path}"
                for name in sources() if not name.startswith("engine/cli/")
                for number, _, path in includes(name) if path.startswith("engine/cli/"))


def literals(name):
    """String literals of a C file, without those of its includes."""
    text = re.sub(r"/\*.*?\*/|^\s*#\s*include[^\n]*", " ", read(name), flags=re.S | re.M)
    return re.findall(r'"((?:[^"\\\n]|\\.)*)"', text)


def modality_names():
    """Names of modalities, of their streams, and of the parts of a request that carry these."""
    text = read("engine/modality/modality.c")
    streams = re.findall(r'_streams\[\] = \{(.*?)\};', text, flags=re.S)
    return set(re.findall(r'\{\.name = "(\w+)"', text)) | {
        word for block in streams for row in re.findall(r'\{"(\w+)", "(\w+)"', block) for word in row}


def reader_names():
    rows = re.search(r"readers\[\] = \{(.*?)\n\};", read("engine/corpus/reader.c"), flags=re.S)
    return set(re.findall(r'\{"(\w+)"', rows[1]))


# Who may name a row of a table by a literal: files, and single exceptions with their reasons.
TABLES = {
    "modalities": (modality_names, r"engine/modality/", {
        ("engine/nn/embedding_layer.c", "embedding"): "Keras' name of a layer"}),
    "corpus readers": (reader_names, r"engine/corpus/reader\.c", {
        ("engine/corpus/import.c", "iemocap"): "the layout where none is given",
        ("api/handlers/handle_datasets.c", "iemocap"): "the layout where none is given",
        ("api/store/recover.c", "iemocap"): "datasets of before layouts were written down",
        ("api/jobs/job_type.c", "table"): "the name of a link, to the table of a sweep",
        ("engine/corpus/folders.c", "folders"): "the name of an option of its own"}),
}


@pytest.mark.parametrize("table", TABLES)
def test_rows_are_named_in_their_own_files(table):
    """Adding a row touches a file and the table: nothing else compares with its name."""
    list_names, homes, exceptions = TABLES[table]
    names = list_names()
    assert len(names) >= 3, names
    found = {(name, word) for name in sources() if not re.match(homes, name) for word in literals(name) if word in names}
    expect_none(f'{name}: "{word}"' for name, word in sorted(found - set(exceptions)))
    assert set(exceptions) <= found, "an exception that is not needed"


def test_each_library_has_one_home():
    def wrong():
        for name in sources():
            for number, kind, path in includes(name):
                if kind == "quote" or SYSTEM.fullmatch(path):
                    continue
                home = next((home for pattern, home in HOMES.items() if re.match(pattern, path)), None)
                if home is None:
                    yield f"{name}:{number}: <{path}> has no home in this test's table"
                elif not (name == home or home.endswith("/") and name.startswith(home)):
                    yield f"{name}:{number}: <{path}> belongs to {home}"

    expect_none(wrong())


@pytest.mark.parametrize("pattern, home", [(p, h) for p, h in HOMES.items() if not h.endswith("/")])
def test_each_home_is_lived_in(pattern, home):
    assert (ROOT / home).is_file(), f"{home} is missing"
    assert any(re.match(pattern, path) for _, kind, path in includes(home) if kind == "angle")


def test_names_are_unique():
    """One subject, one name: x.h and x.c lie together, and no other folder has an x."""
    folders = collections.defaultdict(set)
    for name in sources():
        path = pathlib.PurePath(name)
        same_in_commands = name.startswith("engine/cli/")  # a subcommand is called like its subject
        folders[path.stem, same_in_commands].add(str(path.parent))
    expect_none(f"{stem}: in {sorted(where)}" for (stem, _), where in folders.items() if len(where) > 1)


def test_c_tests_have_unique_names():
    """Each is a program in one folder."""
    stems = collections.Counter(pathlib.PurePath(name).stem for name in files(r"^tests/(engine|api)/.*test_.*\.c$"))
    expect_none(f"{stem}: {n} files" for stem, n in stems.items() if n > 1)


def test_python_tests_have_unique_names():
    """pytest imports them by name, and what lies beside them."""
    stems = collections.defaultdict(list)
    for name in files(r"^tests/.*\.py$"):
        if pathlib.PurePath(name).name != "conftest.py":
            stems[pathlib.PurePath(name).stem].append(name)
    expect_none(f"{stem}: {where}" for stem, where in stems.items() if len(where) > 1)


def test_no_python_test_hides_another():
    """A second function of a name replaces the first, which then never runs."""
    for name in files(r"^tests/.*\.py$"):
        tests = collections.Counter(re.findall(r"^def (test_\w+)", read(name), re.MULTILINE))
        expect_none(f"{name}: {n} functions {test}" for test, n in tests.items() if n > 1)


def test_named_files_are_there():
    """A path in a comment or a document is the end of a file's path."""
    everything = ["/" + name for name in tracked()]
    found = []
    for name in tracked():
        if not re.fullmatch(r"(engine|api|server|tests|docs)/.*\.(c|h|cu|cuh|md)|README\.md", name):
            continue
        for number, line in enumerate(read(name).splitlines(), 1):
            if line.lstrip().startswith("#include"):
                continue
            for path in re.findall(r"(?<![\w/.-])(?:[a-z_0-9]+/)+[a-z_0-9]+\.(?:c|h|cu|cuh|py)\b", line):
                if not any(other.endswith("/" + path) for other in everything):
                    found.append(f"{name}:{number}: {path}")
    expect_none(found)


def test_headers_are_guarded():
    """The guard is made of AFFECT and the path: no two headers can share one."""
    def wrong():
        guards = {}
        for name in files(r"^(engine|api|server|tests)/.*\.h$"):
            found = re.search(r"^#ifndef (\w+)\n#define (\w+)\n", code(name), flags=re.M)
            if not found or found[1] != found[2] or not re.search(r"#endif\s*$", code(name)):
                yield f"{name}: no include guard around it"
            elif found[1] in guards:
                yield f"{name}: its guard {found[1]} is that of {guards[found[1]]}"
            else:
                guards[found[1]] = name

    expect_none(wrong())


def test_every_file_says_what_it_is():
    """A header or source begins with a comment: its subject and design."""
    expect_none(f"{name}: does not begin with a comment" for name in sources()
                if not re.match(r"/\*\s*\S|//\s*\S", read(name)))


def test_scripts_say_what_they_are():
    def wrong():
        for name in files(r"\.(py|sh)$|^\.ci/run$"):
            body = re.sub(r"\A#![^\n]*\n", "", read(name)).lstrip()
            if body and not re.match(r'#\s*\S|r?"""', body):
                yield f"{name}: does not begin with a comment or docstring"

    expect_none(wrong())


def test_the_library_never_prints_or_exits():
    calls = re.compile(r"\b(v?f?printf|puts|fputs|putchar|putc|fputc|perror|exit|_exit|_Exit|quick_exit|abort)\s*\(")
    ends = re.compile(r"exit|abort")

    def wrong():
        for name in files(r"^engine/.*\.(c|h|cu|cuh)$"):
            if name.startswith("engine/cli/"):
                continue
            for number, line in enumerate(code(name).splitlines(), 1):
                for found in calls.finditer(line):
                    if name not in MAY_PRINT or ends.search(found[1]):
                        yield f"{name}:{number}: {found[1]}()"

    expect_none(wrong())


def test_job_types_are_named_in_their_files():
    """A type of jobs is a file and a row: nothing else of the service compares its name."""
    names = re.findall(r"X\((\w+)\)", read("api/jobs/job_type_rows.h").split("#define API_JOB_TYPE_ROWS", 1)[1])
    assert {"import", "train", "evaluate"} <= set(names), names
    literal = re.compile(r'"(%s)"' % "|".join(names))
    for type_name in names:
        assert f'.name = "{type_name}"' in read(f"api/jobs/job_type_{type_name}.c")
    expect_none(f"{name}:{number}: {line.strip()}" for name in files(r"^(api|server)/.*\.(c|h)$")
                if not re.match(r"api/jobs/job_type_\w+\.c", name)
                for number, line in enumerate(read(name).splitlines(), 1) if literal.search(line))


def test_sql_is_in_the_store():
    """Statements stand in api/store/store_sqlite*.c and *.sql; its other callers ask in words of the domain."""
    home = re.compile(r"api/store/store_sqlite\w*\.(c|h)")
    statement = re.compile(r'"\s*(SELECT|INSERT|UPDATE|DELETE|REPLACE|CREATE|ALTER|DROP|PRAGMA|BEGIN|COMMIT|WITH)\s[^"]*|'
                           r'"[^"]*\b(FROM|WHERE|ORDER BY|VALUES|LIMIT)\b')
    wrong = []
    for name in files(r"^(api|server)/.*\.(c|h)$"):
        if home.fullmatch(name):
            continue
        wrong += [f"{name}:{number}: {line.strip()}" for number, line in enumerate(read(name).splitlines(), 1)
                  if statement.search(line) or "store_sqlite" in line and "#include" in line]
    expect_none(wrong)
    assert len(statement.findall(read("api/store/store_sqlite_jobs.c"))) > 20


def test_exceptions_are_needed():
    for name in MAY_PRINT:
        assert "stderr" in code(name) and not re.search(r"\bprintf\s*\(|\bstdout\b", code(name)), name


def test_files_are_short():
    def wrong():
        for name in sources() + files(r"^tests/.*\.(c|h|py|sh)$"):
            n = read(name).count("\n")
            if n > LONGEST_FILE:
                yield f"{name}: {n} lines (at most {LONGEST_FILE})"

    expect_none(wrong())


def functions(name):
    """(first line, name, number of lines): definitions as clang-format lays them out."""
    lines, start, title = code(name).splitlines(), None, None
    for number, line in enumerate(lines, 1):
        if start is None and re.match(r"[A-Za-z_]", line) and "(" in line and not line.startswith(("typedef", "#")):
            candidate = re.search(r"(\w+)\s*\(", line)
            rest = " ".join(lines[number - 1 : number + 11])
            head = re.match(r"[^;{}]*\)\s*\{", rest)
            if head and candidate:
                start, title = number, candidate[1]
        if start is not None and line.startswith("}"):
            yield start, title, number - start + 1
            start = None


def test_report_of_functions(capsys):
    """A statistic, not a rule: long functions are named in the output of every run."""
    found = [(n, f"{name}:{line}", title) for name in sources() if name.endswith(".c")
             for line, title, n in functions(name)]
    assert len(found) > 200, "functions are not recognised any more"
    sizes = sorted(n for n, _, _ in found)
    with capsys.disabled():
        print(f"\n{len(sizes)} functions: median {sizes[len(sizes) // 2]} lines, under 20: "
              f"{sum(n < 20 for n in sizes) / len(sizes):.0%}, under 40: {sum(n < 40 for n in sizes) / len(sizes):.0%}, "
              f"longest {sizes[-1]}")
        for n, place, title in sorted(found, reverse=True):
            if n > LONGEST_FUNCTION:
                print(f"  {place}: {title} has {n} lines")


def test_no_path_of_a_machine():
    """Nothing names a folder of the machine it was written on."""
    machine = re.compile(r"(?<![\w.])/(work|home|root|Users|mnt|media)/[\w.]")
    allowed = {"tests/test_house.py"}
    expect_none(f"{name}:{number}: {line.strip()[:100]}"
                for name in files(r"\.(c|h|cu|py|sh|sql|json|ya?ml|txt|md|cmake|ini|toml)$|Dockerfile|^\.ci/")
                if name not in allowed
                for number, line in enumerate(read(name).splitlines(), 1) if machine.search(line))


def test_formatting():
    program = shutil.which("clang-format")
    if not program:
        pytest.skip("no clang-format on this machine")
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    major = int(re.search(r"version (\d+)", version)[1])
    if major != 14:
        pytest.skip(f"the tree is formatted with clang-format 14 (Debian 12's); here is {major}")
    done = subprocess.run([program, "--dry-run", "--Werror", *files(r"\.(c|h)$")], cwd=ROOT, capture_output=True,
                          text=True)
    assert done.returncode == 0, "\n" + "\n".join(sorted({line for line in done.stderr.splitlines() if "error:" in line}))


def test_lines_are_tidy():
    def wrong():
        for name in files(r"\.(c|h|cu|py|sh|sql|json|ya?ml|cmake|ini|txt)$"):
            text = read(name)
            if name.startswith("tests/reference/") and not name.endswith(".py"):
                continue  # stored inputs: hostile on purpose
            if text and not text.endswith("\n"):
                yield f"{name}: no newline at its end"
            for number, line in enumerate(text.splitlines(), 1):
                if line != line.rstrip() or "\t" in line:
                    yield f"{name}:{number}: trailing space or tab"

    expect_none(wrong())


@pytest.mark.parametrize("name", files(r"^configs/.*\.json$"))
def test_configs_are_json(name):
    def unique(pairs):
        keys = [key for key, _ in pairs]
        assert len(keys) == len(set(keys)), f"a key twice in {name}: {keys}"
        return dict(pairs)

    assert isinstance(json.loads(read(name), object_pairs_hook=unique), dict)


def test_licences_of_all_files():
    """Every file has a copyright and a licence (reuse.software)."""
    if not importlib.util.find_spec("reuse"):
        pytest.skip("reuse is not installed")
    if not (ROOT / ".git").exists():
        pytest.skip("without git, files that are built cannot be told from the tree's")
    done = subprocess.run([sys.executable, "-m", "reuse", "--root", str(ROOT), "lint", "--lines"], capture_output=True,
                          text=True, env={**os.environ, "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory",
                                          "GIT_CONFIG_VALUE_0": str(ROOT)})
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def test_licence():
    text = read("LICENSE")
    assert text == read("LICENSES/Apache-2.0.txt")
    assert "Apache License" in text and "Version 2.0, January 2004" in text and "END OF TERMS AND CONDITIONS" in text


def test_scripts_can_be_run():
    scripts = files(r"\.sh$|^\.ci/run$")
    assert ".ci/run" in scripts and "tests/run.sh" in scripts
    for name in scripts:
        assert os.access(ROOT / name, os.X_OK), f"{name} is not executable"
        assert re.match(r"#!/(usr/bin/env (ba)?sh|bin/sh)\n", read(name)), f"{name} has no shell in its first line"
        done = subprocess.run(["bash", "-n", name], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


# Private words that were here once, each with a standard term in its place (docs: the field's words).
PRIVATE = re.compile(r"\b(exchange|hear_line|told|say_hello|last_words|blame|mind_child|look_again|looked_at|kept_at|may_go_on|"
                     r"judge\w*|askable|question|at_once_rows|shares_rows|equal_rows|\w*_leftover|recall_mean)\b")


def test_no_private_words():
    """In identifiers of the engine, the service and the server; strings and comments are not read."""
    def wrong():
        for name in files(r"^(engine|api|server)/.*\.(c|h|cu|cuh)$"):
            code = re.sub(r'/\*.*?\*/|//[^\n]*|"(?:[^"\\\n]|\\.)*"', " ", read(name), flags=re.S)
            for word in sorted({m[0] for m in PRIVATE.finditer(code)}):
                yield f"{name}: {word}"

    expect_none(wrong())
