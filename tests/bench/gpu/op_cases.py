"""Every operation of a device, forward and backward, against double precision: the `check` stage of gpu_table.py.

    python3 tests/bench/gpu/op_cases.py --programs build/bench --device cuda --precision fp32 [--sizes small]

A case is a request to run_ops (its source says what each operation takes and answers). The device computes all cases in one
process, then run_ops64 computes the same inputs in double on the CPU. The figure is the norm of the difference over the
norm. Inputs are normal numbers that float32 holds, of a fixed seed.

Backward passes that choose (ReLU, pooling) follow the device's choices, for a value near a tie may go either way in another
arithmetic: convolutions get the device's own y; fused convolution and pooling, whose saved switches are the backend's
secret, get no gradient at pairs that are near a tie (share below a twentieth). Everything else must agree.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

LIMITS = {"fp32": 1e-5, "tf32": 2e-3, "bf16": 1e-2}  # of the project's contract
TIES = {"fp32": 1e-4, "tf32": 6e-3, "bf16": 4e-2}  # of the convolution's root mean square
LINEAR, RELU, TANH, SIGMOID, SOFTMAX = range(5)
LSTM_OUTPUTS = [f"{name}_{d}" for d in (0, 1) for name in ("d_kernel", "d_recurrent", "d_bias")]


class Case:
    """name: for the table; line: numbers of the request; inputs: arrays; outputs: names of what is answered."""

    def __init__(self, name, operation, line, inputs, outputs):
        self.name, self.operation, self.line, self.outputs = name, operation, list(line), outputs
        self.inputs = [np.asarray(array, np.float32).astype(np.float64) for array in inputs]

    def request(self, line=None, inputs=None):
        head = " ".join([self.operation, *(repr(n) if isinstance(n, float) else str(int(n)) for n in line or self.line)])
        return head.encode() + b"\n" + b"".join(array.tobytes() for array in inputs or self.inputs)


def cases(sizes, seed=1):
    """All operations; `paper`: the network's shapes on a few hundred frames; `small`: for an emulated device."""
    paper = sizes == "paper"
    generator = np.random.default_rng(seed)
    normal = lambda *shape: generator.standard_normal(shape)  # noqa: E731
    found = []

    def convolution(name, n, length, channels, filters, kernel=3, stride=1, pad=0, out=None, activation=RELU, pool=False):
        out = out or (length - kernel) // stride + 1
        y = (n, out // 2 if pool else out, filters)
        line = [n, length, channels, filters, kernel, stride, pad, out] + ([] if pool else [activation, 0])
        inputs = [normal(n, length, channels), normal(kernel, channels, filters) / np.sqrt(kernel * channels),
                  0.1 * normal(filters), normal(*y)]
        found.append(Case(name, "conv1d_pool" if pool else "conv1d", line, inputs, ["y", "d_x", "d_kernel", "d_bias"]))

    def lstm(name, batch, steps, inputs, units, directions=2, reverse=0, sequences=1, rows=None, lengths=None):
        first = np.concatenate([[0], np.cumsum(rows)]) if rows is not None else None
        n_rows = int(first[-1]) if rows is not None else 0
        x = normal(n_rows, inputs) if n_rows else normal(batch, steps, inputs)
        parameters = []
        for _ in range(directions):
            parameters += [normal(inputs, 4 * units) / np.sqrt(inputs), normal(units, 4 * units) / np.sqrt(units) / 2,
                           0.1 * normal(4 * units)]
        d_y = normal(batch, steps if sequences else 1, directions * units)
        arrays = [a for a in (first, lengths) if a is not None] + [x, *parameters, d_y]
        found.append(Case(name, "lstm", [batch, steps, inputs, units, directions, reverse, sequences, n_rows,
                                         lengths is not None], arrays, ["y", "d_x", *LSTM_OUTPUTS[:3 * directions]]))

    few = 3001 if paper else 9
    stack = [(128, 1, 64), (63, 64, 128), (30, 128, 64), (14, 64, 32), (6, 32, 64)]
    for i, (length, channels, filters) in enumerate(stack):
        convolution(f"audio convolution {i + 1} + ReLU + pool", few, length, channels, filters, pool=True)
    convolution("convolution of one channel + pool", 5, 24, 1, 16, pool=True)
    convolution("convolution of one channel + pool, same padding", 5, 9, 1, 40, pad=1, out=9, pool=True)
    convolution("convolution + pool, 48 to 16, same padding", 7, 9, 48, 16, pad=1, out=9, pool=True)
    convolution("convolution + pool, 16 to 48, causal padding", 7, 8, 16, 48, pad=2, out=8, pool=True)
    convolution("convolution + pool, more than a block's units", 3, 6, 160, 64, pool=True)
    convolution("convolution + pool, odd sizes", 3, 11, 5, 7, kernel=4, pool=True)
    convolution("motion convolution 1 + ReLU", 48 if paper else 2, 200 if paper else 12, 189 if paper else 9, 128 if paper else 8)
    convolution("convolution, stride 2, padded", 3, 11, 3, 4, kernel=4, stride=2, pad=1, out=5)
    convolution("convolution, tanh", 2, 9, 3, 4, activation=TANH)
    convolution("dense 256 -> 256 + ReLU" if paper else "dense + ReLU", 48, 1, 256 if paper else 24, 256 if paper else 20, kernel=1)
    convolution("dense 512 -> 4, linear", 48, 1, 512 if paper else 40, 4, kernel=1, activation=LINEAR)
    batch, steps, units = (48, 501, 128) if paper else (5, 6, 8)
    rows = np.minimum(1 + generator.integers(1, steps, batch), steps)
    lstm("BiLSTM, sequences", batch, steps, 256 if paper else 12, units)
    lstm("BiLSTM, distinct rows", batch, steps, 128 if paper else 12, units, rows=rows)
    lstm("BiLSTM, last states", batch, steps, 256 if paper else 12, units, sequences=0)
    lstm("BiLSTM of 128 units, few steps", 9 if paper else 3, 5, 24, 128)
    lstm("BiLSTM of 128 units, distinct rows", 11, 4, 24, 128, rows=np.array([4, 1, 2, 4, 3, 1, 1, 2, 4, 4, 3]))
    lstm("BiLSTM of 128 units, last states", 9, 4, 24, 128, sequences=0)
    lstm("BiLSTM of 128 units, masked", 10, 4, 24, 128, lengths=np.array([4, 1, 2, 4, 3, 1, 1, 2, 4, 4]))
    lstm("LSTM of 128 units, backwards", 8, 4, 24, 128, directions=1, reverse=1)
    lstm("BiLSTM, masked", 6, 8, 5, 12, lengths=np.array([8, 1, 5, 7, 3, 8]))
    lstm("LSTM, backwards", 4, 7, 5, 6, directions=1, reverse=1, sequences=0)
    n, c = (48 * 198, 128) if paper else (60, 12)
    found.append(Case("batch normalisation", "batch_norm", [n, c, 0.99, 1e-3],
                      [normal(n, c) + 0.5, 1 + 0.1 * normal(c), normal(c), normal(c), 1 + normal(c) ** 2, normal(n, c)],
                      ["y", "mean", "variance", "y inference", "d_x", "d_gamma", "d_beta"]))
    found.append(Case("layer normalisation", "layer_norm", [n // 3, c + 1, 1e-3],
                      [normal(n // 3, c + 1) + 0.5, 1 + 0.1 * normal(c + 1), normal(c + 1), normal(n // 3, c + 1)],
                      ["y", "y inference", "d_x", "d_gamma", "d_beta"]))

    def window2d(name, operation, n, height, width, channels, window, stride, pad, out):
        y = (n, *out, *(window if operation == "window2d" else ()), channels)
        found.append(Case(name, operation, [n, height, width, channels, *window, *stride, *pad, *out],
                          [normal(n, height, width, channels), normal(*y)], ["y", "d_x"]))

    window2d("windows of images, same padding", "window2d", 3, 9, 12 if paper else 7, 5, (3, 3), (1, 1), (1, 1), (9, 12 if paper else 7))
    window2d("windows of images, strided, beyond the edges", "window2d", 2, 4, 5, 3, (3, 2), (2, 3), (0, 1), (2, 2))
    window2d("pool of images", "pool2d", 3, 8, 7, 6, (2, 2), (2, 2), (0, 0), (4, 3))
    window2d("pool of images, overlapping, padded", "pool2d", 2, 4, 5, 3, (3, 3), (2, 2), (0, 1), (2, 3))

    def pool_steps(name, batch, steps, channels, deviation, scores, lengths=None):
        arrays = [a for a in (lengths, normal(batch, steps) if scores else None) if a is not None]
        found.append(Case(name, "pool_steps", [batch, steps, channels, deviation, 1e-3, lengths is not None, scores],
                          [*arrays, normal(batch, steps, channels), normal(batch, channels * (1 + deviation))],
                          ["y", "weights", "d_x", *(["d_scores"] if scores else [])]))

    pool_steps("mean of steps", 5, 7, 9, False, False)
    pool_steps("mean of steps, masked", 4, 7, 3, False, False, np.array([7, 2, 0, 5]))
    pool_steps("attentive mean and deviation, masked", 48 if paper else 4, 501 if paper else 7, 33, True, True,
               np.minimum(np.arange(48 if paper else 4) * 3, 501 if paper else 7))

    def gemm(name, m, n, k, transpose_a=0, transpose_b=0, alpha=1.0, beta=0.0, count=0):
        each = (count,) if count else ()
        found.append(Case(name, "gemm_batched" if count else "gemm", [*each, m, n, k, transpose_a, transpose_b, alpha, beta],
                          [normal(*each, m, k), normal(*each, k, n), normal(*each, m, n)], ["c"]))

    gemm("product", 2400 if paper else 70, 256 if paper else 33, 128 if paper else 20)
    gemm("product, first transposed, added", 128 if paper else 20, 256 if paper else 33, 24000 if paper else 150, 1, 0, 0.5, 1.0)
    gemm("product, second transposed", 33, 70, 41, 0, 1)
    gemm("products of a batch, second transposed, scaled", 50, 50, 16, 0, 1, 0.25, 0.0, 48 if paper else 3)
    gemm("products of a batch, both transposed, added", 7, 9, 11, 1, 1, 1.0, 0.5, 5)
    n_ids, n_rows, width = (2400, 10000, 128) if paper else (301, 40, 9)
    ids = generator.integers(-1, n_rows + 1, n_ids)
    ids[::3] = 7
    batch, heads, steps = (48, 4, 501) if paper else (4, 3, 37)
    found.append(Case("softmax of rows", "masked_softmax", [batch, heads * 9, steps, 0],
                      [3 * normal(batch, heads * 9, steps), normal(batch, heads * 9, steps)], ["y", "d_x"]))
    found.append(Case("softmax of rows, masked", "masked_softmax", [batch, heads * 9, steps, 1],
                      [np.arange(batch) * 9 % (steps + 1), 3 * normal(batch, heads * 9, steps), normal(batch, heads * 9, steps)],
                      ["y", "d_x"]))
    found.append(Case("ids", "read_ids", [600], [np.concatenate([np.arange(299) / 2 - 5, generator.integers(0, 1 << 24, 301)])],
                      ["ids"]))
    found.append(Case("rows of a table", "gather", [n_ids, n_rows, width], [ids, normal(n_rows, width)], ["y"]))
    found.append(Case("rows added to a table", "scatter_add", [n_ids, n_rows, width], [ids, normal(n_rows, width), normal(n_ids, width)],
                      ["table"]))
    found.append(Case("sum of two", "add", [10007], [normal(10007), normal(10007)], ["y"]))
    found.append(Case("pool 2", "pool1d", [48, 99, 64, 2, 2, 0, 49], [normal(48, 99, 64), normal(48, 49, 64)], ["y", "d_x"]))
    found.append(Case("pool 3, overlapping, padded", "pool1d", [4, 9, 5, 3, 1, 1, 9], [normal(4, 9, 5), normal(4, 9, 5)],
                      ["y", "d_x"]))
    found.append(Case("dropout", "dropout", [48 * 256 + 1, 0.3, 7, 5], [normal(48 * 256 + 1)], ["y"]))
    for name, activation in (("ReLU", RELU), ("tanh", TANH), ("sigmoid", SIGMOID), ("softmax", SOFTMAX)):
        found.append(Case(name, "activation", [50, 9, activation], [normal(50, 9), normal(50, 9)],
                          ["y", "d_x"] if activation != SOFTMAX else ["y"]))
    p = np.exp(normal(48, 4))
    found.append(Case("cross-entropy", "cross_entropy", [48, 4, 48.0],
                      [p / p.sum(1, keepdims=True), generator.integers(0, 4, 48), generator.random(48)], ["d_logits", "stats"]))
    found.append(Case("L2 penalty", "l2_penalty", [10007, 0.01], [normal(10007)], ["penalty", "d_w"]))
    found.append(Case("Adam", "adam_step", [10007, 1e-3, 0.9, 0.999, 1e-7, 3],
                      [normal(10007), 0.1 * normal(10007), 0.1 * normal(10007) ** 2, normal(10007)], ["parameters", "m", "v"]))
    found.append(Case("copies of rows and runs", "copy", [9, 7, 33, 5], [normal(33, 7)], ["rows", "runs"]))
    return found


def operations(programs):
    """Names of all operations of a device, and of those that run_ops has a request for."""
    lines = subprocess.run([programs / "run_ops", "--operations"], capture_output=True, text=True, check=True).stdout.split()
    return {line for line in lines if line[0] != "["}, {line[1:-1] for line in lines if line[0] == "["}


def run(command, requests, environment=None, timeout=500):
    """The arrays that run_ops answers to all requests."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [pathlib.Path(folder) / name for name in ("requests", "answers")]
        with open(paths[0], "wb") as file:
            for request in requests:
                file.write(request)
        done = subprocess.run([*map(str, command), *map(str, paths)], env=environment, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=timeout)
        if done.returncode:
            raise RuntimeError(f"{' '.join(map(str, command))}: exit {done.returncode}: {done.stdout[-1500:]}")
        return read_answers(paths[1].read_bytes())


def read_answers(data):
    """The arrays of a file of answers; ValueError when it is cut short."""
    arrays, at = [], 0
    while at < len(data):
        line = data.index(b"\n", at)
        count = int(data[at:line])
        arrays.append(np.frombuffer(data, np.float64, count, line + 1))
        at = line + 1 + 8 * count
    return arrays


def grouped(arrays, listed):
    arrays = iter(arrays)
    return [[next(arrays) for _ in case.outputs] for case in listed]


def difference(got, truth):
    """Norm of the difference over the norm; infinite where something was not written."""
    if not np.isfinite(got).all():
        return float("inf")
    norm = np.linalg.norm(truth)
    return float(np.linalg.norm(got - truth) / (norm if norm else 1))


def drop_ties(listed, truth_command, precision):
    """No gradient for pairs that are near a tie; returns the share of those."""
    fused = [case for case in listed if case.operation == "conv1d_pool"]
    requests = []
    for case in fused:
        n, out, filters = case.line[0], case.line[7], case.line[3]
        plain = Case(case.name, "conv1d", [*case.line, LINEAR, 0], [*case.inputs[:3], np.zeros((n, out, filters))], [])
        requests.append(plain.request())
    answers, n_tied, n_all = run(truth_command, requests), 0, 0
    for i, case in enumerate(fused):
        n, out, filters = case.line[0], case.line[7], case.line[3]
        z = answers[4 * i].reshape(n, out, filters)[:, :out // 2 * 2].reshape(n, out // 2, 2, filters)
        near = TIES[precision] * np.sqrt(np.mean(z ** 2))
        tied = (np.abs(z[:, :, 0] - z[:, :, 1]) <= near) & (z.max(2) > -near) | (np.abs(z.max(2)) <= near)
        case.inputs[3][tied] = 0
        n_tied, n_all = n_tied + tied.sum(), n_all + tied.size
    return n_tied / n_all


def torch_answers(case, device, precision):
    """What PyTorch gives for a case that it can compute alike, or None."""
    import torch
    from torch.nn import functional

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision != "fp32"
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    leaf = lambda array: torch.tensor(array, dtype=dtype, device=device, requires_grad=True)  # noqa: E731
    numbers = lambda tensor: tensor.detach().double().cpu().numpy()  # noqa: E731
    if case.operation == "conv1d_pool":
        n, length, channels, filters, kernel, stride, pad, out = case.line
        if stride != 1 or pad:
            return None
        x, w, bias, d_y = (leaf(array) for array in case.inputs)
        y = functional.max_pool1d(functional.relu(functional.conv1d(x.transpose(1, 2), w.permute(2, 1, 0), bias)), 2)
        y = y.transpose(1, 2)
        y.backward(d_y.detach())
        return [numbers(t).ravel() for t in (y, x.grad, w.grad, bias.grad)]
    batch, steps, inputs, units, directions, reverse, sequences, n_rows, is_masked = case.line
    if directions != 2 or not sequences or n_rows or is_masked:
        return None
    layer = torch.nn.LSTM(inputs, units, bidirectional=True).to(device, dtype)
    with torch.no_grad():
        for i, end in enumerate(("", "_reverse")):
            kernel, recurrent, bias = case.inputs[1 + 3 * i:4 + 3 * i]
            for name, value in (("weight_ih", kernel.T), ("weight_hh", recurrent.T), ("bias_ih", bias), ("bias_hh", 0 * bias)):
                getattr(layer, f"{name}_l0{end}").copy_(torch.tensor(np.ascontiguousarray(value)))
    x = leaf(case.inputs[0])
    y = layer(x.transpose(0, 1))[0].transpose(0, 1)
    y.backward(torch.tensor(case.inputs[-1], dtype=dtype, device=device))
    found = [y, x.grad]
    for end in ("", "_reverse"):
        found += [getattr(layer, f"weight_{kind}_l0{end}").grad.T for kind in ("ih", "hh")]
        found.append(getattr(layer, f"bias_ih_l0{end}").grad)
    return [np.ascontiguousarray(numbers(t)).ravel() for t in found]


def check(programs, device, precision, sizes, environment=None, prefix=(), torch_device=None):
    """[{"case", "errors": {output: figure}, "worst", "limit", "ok"}], {"ties"}. prefix: before the device's command.
    torch_device: where PyTorch computes what it can; its "torch" is the worst figure, "against_torch" ours against it."""
    listed = cases(sizes)
    truth_command = [programs / "run_ops64", "cpu", "fp32"]
    ties = drop_ties(listed, truth_command, precision)
    got = grouped(run([*prefix, programs / "run_ops", device, precision], [case.request() for case in listed], environment), listed)
    requests = []
    for case, answers in zip(listed, got):
        if case.operation == "conv1d":  # follow the device's y
            y = answers[0] if np.isfinite(answers[0]).all() else np.zeros_like(answers[0])
            requests.append(case.request([*case.line[:-1], 1], [*case.inputs, y]))
        else:
            requests.append(case.request())
    truth = grouped(run(truth_command, requests), listed)
    rows = []
    for case, answers, right in zip(listed, got, truth):
        errors = {name: difference(a, r) for name, a, r in zip(case.outputs, answers, right)}
        worst = max(errors.values())
        row = {"case": case.name, "errors": errors, "worst": worst, "limit": LIMITS[precision], "ok": worst <= LIMITS[precision]}
        if torch_device and case.operation in ("conv1d_pool", "lstm"):
            theirs = torch_answers(case, torch_device, precision)
            if theirs is not None:
                row["torch"] = max(difference(t, r) for t, r in zip(theirs, right))
                row["against_torch"] = max(difference(a, t) for a, t in zip(answers, theirs))
        rows.append(row)
    return rows, {"ties": float(ties)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--programs", type=pathlib.Path, required=True, help="folder of run_ops and run_ops64")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", choices=LIMITS, default="fp32")
    parser.add_argument("--sizes", choices=("paper", "small"), default="paper")
    parser.add_argument("--torch", action="store_true", help="also PyTorch on the device, where there is PyTorch")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--quiet", action="store_true", help="only what is over its limit; exit 0 all the same with --json")
    parser.add_argument("--prefix", nargs=argparse.REMAINDER, default=[], help="last: what run_ops runs under: compute-sanitizer ...")
    args = parser.parse_args()
    torch_device = None
    if args.torch:
        try:
            import torch
            torch_device = args.device if args.device == "cpu" or torch.cuda.is_available() else "cpu"
        except ImportError:
            print("no PyTorch in this interpreter: not compared with it")
    try:
        rows, more = check(args.programs, args.device, args.precision, args.sizes, prefix=args.prefix, torch_device=torch_device)
    except RuntimeError as error:
        sys.exit(str(error))
    for row in rows:
        if not (args.quiet and row["ok"]):
            print(f"{'ok  ' if row['ok'] else 'FAIL'} {row['worst']:.1e} of {row['limit']:.0e}  {row['case']}: "
                  + ", ".join(f"{name} {error:.1e}" for name, error in row["errors"].items())
                  + (f"; PyTorch {row['torch']:.1e}, from ours {row['against_torch']:.1e}" if "torch" in row else ""))
    found = {"worst": max(row["worst"] for row in rows), "torch_device": torch_device, **more}
    print(json.dumps(found))
    if args.json:
        args.json.write_text(json.dumps({**found, "rows": rows}, indent=1) + "\n")
    sys.exit(not args.json and not all(row["ok"] for row in rows))


if __name__ == "__main__":
    main()
