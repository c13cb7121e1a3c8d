"""No two files of a program need each other: the graph of who calls whom, by file, has no cycle.

Includes are read from the tree. Symbols are read by nm from the object files of a build ($AFFECT_BUILD_DIR, else build/):
a file needs the file that defines the functions that it leaves undefined. Several objects of one source (the CPU engine's levels) count as
that source.
"""
import collections
import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = pathlib.Path(os.environ.get("AFFECT_BUILD_DIR", ROOT / "build"))


def cycles(needs):
    """The strongly connected components of more than one file, by Tarjan's algorithm."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in needs.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            component = stack[stack.index(node):]
            del stack[stack.index(node):]
            if len(component) > 1:
                found.append(sorted(component))

    for node in list(needs):
        if node not in index:
            visit(node)
    return found


def test_cycles_are_found():
    assert cycles({"a": ["b"], "b": ["c"], "c": ["b"], "d": ["a"]}) == [["b", "c"]]
    assert cycles({"a": ["b", "c"], "b": ["c"], "c": []}) == []


def test_no_cycle_by_include():
    needs = {}
    for layer in ("engine", "api", "server"):
        for path in (ROOT / layer).rglob("*"):
            if path.suffix in (".c", ".h", ".cu", ".cuh"):
                needs[str(path.relative_to(ROOT))] = re.findall(r'^#\s*include "([^"]+)"', path.read_text(), re.M)
    assert len(needs) > 300
    assert cycles(needs) == []


def objects():
    """(source, object) of engine, api and server, as CMake lays them out: TARGET.dir/SOURCE.o."""
    for path in BUILD.glob("CMakeFiles/*.dir/**/*.c.o"):
        source = str(path.relative_to(BUILD / "CMakeFiles")).split(".dir/", 1)[1][:-2]
        if source.split("/")[0] in ("engine", "api", "server") and (ROOT / source).exists():
            yield source, path


def test_no_cycle_by_symbol():
    found = list(objects())
    if not found:
        pytest.skip(f"no build in {BUILD}")
    source_of = {str(path): source for source, path in found}
    defines, wants = {}, collections.defaultdict(set)
    listed = subprocess.run(["nm", "-A", *source_of], check=True, capture_output=True, text=True).stdout
    for line in listed.splitlines():
        path, symbol = line.split(":", 1)
        kind, name = symbol.split()[-2:]
        if kind == "U":
            wants[source_of[path]].add(name)
        elif kind in "TW":  # a table's rows are data, of which no code is called
            defines[name] = source_of[path]
    assert len({source for source, _ in found}) > 150 and len(defines) > 500
    needs = {source: {defines[n] for n in names if n in defines} - {source} for source, names in wants.items()}
    assert cycles(needs) == []
