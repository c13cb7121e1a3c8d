"""The results of gpu_table.py as markdown: figures, ratios, targets, and what was not run and why."""

import math

FLOOR_MS = {"bf16": (0.55, 1.0)}  # of a step: an estimate from operations, bytes and the latency of 4 x 501 steps
STEP_KEYS = ("mode", "memory", "weights")
RATIOS = [  # of `ours` and `peers`; at least so many times faster
    ("training step, IEMOCAP's lengths", "step", "step", 6),
    ("the same, PyTorch computing the padding once", "step", "step, padding computed once", None),
    ("training step, all clips 16 s", "step, all clips 16 s", "step, all clips 16 s", 4),
    ("BiLSTM 256 -> 2 x 128, forward and backward, against cuDNN", "bilstm", "bilstm", 5),
    ("epoch of 4416 + 1105 clips", "epoch", "epoch", None),
]
EPOCH_SECONDS, TRIALS, TRIALS_AT_LEAST = 0.4, 8, 5


def failure(result):
    """Why a stage or a figure is not there; None when it is."""
    return result.get("failed") if isinstance(result, dict) else None


def absent(why):
    return "not run" if why == "not run" else f"not run: {why}"


def not_run(result):
    """A sentence for what is not there."""
    return absent(failure(result) if result else "not run")


def seconds_of(results, precision, figure):
    """(seconds, None) of ours, or (None, why)."""
    ours = results["ours"]
    why = failure(ours) or failure(ours.get(precision, {"failed": "not run"}))
    if why:
        return None, why
    found = ours[precision]
    if figure == "bilstm":
        return found["ops"]["bilstm"], None
    entry = found.get(figure, {"failed": "not run"})
    return (None, failure(entry)) if failure(entry) else (entry["seconds"], None)


def best_peer(results, precision, figure):
    """The fastest variant's result, or (None, why)."""
    peers = results["peers"]
    if failure(peers):
        return None, failure(peers)
    found = [r for r in peers if r.get("precision") == precision and r["what"] == figure]
    good = [r for r in found if "seconds" in r]
    if not good:
        return None, found[0]["failed"] if found else "not run"
    return min(good, key=lambda r: r["seconds"]), None


def milliseconds(seconds):
    return f"{seconds * 1e3:.3g} ms"


def verdict(ratio, target):
    if target is None:
        return ""
    return f"at least {target:g}x: " + ("reached" if ratio >= target else "MISSED")


def step_name(peer):
    return ", ".join(str(peer[key]) for key in STEP_KEYS if key in peer)


def speed(results, precisions):
    lines = ["| figure | precision | best peer | ours | ratio | target |", "|---|---|---|---|---|---|"]
    for name, ours_key, peer_key, target in RATIOS:
        for precision in precisions:
            ours, why = seconds_of(results, precision, ours_key)
            peer, peer_why = best_peer(results, precision, peer_key)
            shown = f"{milliseconds(peer['seconds'])} ({step_name(peer)})" if peer else absent(peer_why)
            ratio = peer["seconds"] / ours if peer and ours else None
            state = verdict(ratio, target) if ratio else f"at least {target:g}x: not run" if target else ""
            if ours_key == "epoch":
                state = f"at most {EPOCH_SECONDS} s: " + (
                    "not run" if not ours else "reached" if ours <= EPOCH_SECONDS else "MISSED")
            lines.append(f"| {name} | {precision} | {shown} | {milliseconds(ours) if ours else absent(why)} | "
                         f"{f'{ratio:.2f}x' if ratio else ''} | {state} |")
    for precision in precisions:
        one, _ = seconds_of(results, precision, "epoch")
        many, why = seconds_of(results, precision, "trials")
        gain = TRIALS * one / many if one and many else None
        lines.append(f"| {TRIALS} trials side by side, of one after another | {precision} | | "
                     f"{milliseconds(many) + ' an epoch of all' if many else absent(why)} | "
                     f"{f'{gain:.2f}x' if gain else ''} | "
                     f"{verdict(gain, TRIALS_AT_LEAST) if gain else f'at least {TRIALS_AT_LEAST}x: not run'} |")
    for precision in (p for p in precisions if p in FLOOR_MS):
        ours, _ = seconds_of(results, precision, "step")
        if ours:
            low, high = FLOOR_MS[precision]
            lines.append(f"\nA step in {precision} takes {ours * 1e3 / high:.1f} to {ours * 1e3 / low:.1f} times its estimated "
                         f"floor of {low}-{high} ms.")
    return lines


def parameters(results):
    """Both sides count their parameters; a difference makes every ratio meaningless."""
    peers, ours = results["peers"], results["ours"]
    theirs = None if failure(peers) else next((r["parameters"] for r in peers if r["what"] == "header"), None)
    mine = None if failure(ours) else next((r["step"]["parameters"] for r in ours.values() if not failure(r)), None)
    line = f"Parameters: peer {theirs or 'not run'}, ours {mine or 'not run'}."
    if theirs and mine and theirs != mine:
        line += " **They differ: the ratios mean nothing.**"
    return line


def all_peers(results):
    if failure(results["peers"]):
        return [f"PyTorch: {not_run(results['peers'])}"]
    lines = ["| PyTorch | precision | variant | result |", "|---|---|---|---|"]
    for r in results["peers"]:
        if r["what"] != "header":
            shown = f"not run: {r['failed']}" if "failed" in r else (
                f"{milliseconds(r['seconds'])} ({r['least'] * 1e3:.3g}-{r['most'] * 1e3:.3g})")
            lines.append(f"| {r['what']} | {r['precision']} | {step_name(r)} | {shown} |")
    return lines


def errors(results, precisions):
    check = results["check"]
    if failure(check):
        return [not_run(check)]
    lines = []
    for precision in precisions:
        found = check.get(precision, {"failed": "not run"})
        if failure(found):
            lines.append(f"- {precision}: {not_run(found)}")
            continue
        bad = [row["case"] for row in found["rows"] if not row["ok"]]
        lines.append(f"- {precision}: {len(found['rows'])} cases, worst {found['worst']:.1e} (limit {found['rows'][0]['limit']:g}): "
                     + (f"**over it: {', '.join(bad)}**" if bad else "all within")
                     + f"; PyTorch: {'on ' + found['torch_device'] if found.get('torch_device') else 'not there'}")
    ran = {p: {row["case"]: row for row in check[p]["rows"]} for p in precisions if p in check and not failure(check[p])}
    if ran:
        lines += ["", "| operation | " + " | ".join(f"{p}: ours | PyTorch" for p in ran) + " |", "|---|" + "---|---|" * len(ran)]
        for case in next(iter(ran.values())):
            cells = []
            for rows in ran.values():
                row = rows[case]
                cells += [f"{row['worst']:.1e}", f"{row['torch']:.1e}" if "torch" in row else ""]
            lines.append(f"| {case} | {' | '.join(cells)} |")
    return lines


def distance(got, truth):
    """Norm of the difference over the norm."""
    return math.dist(got, truth) / math.hypot(*truth)


def curves(results, precisions):
    losses = results["losses"]
    if failure(losses):
        return [not_run(losses)]
    truth, device = losses["truth"], losses["device"]
    last = len(truth["losses"])
    shown = sorted({1, 2, 5, 10, 15, last} & set(range(1, last + 1)))
    lines = ["| | forward error | " + " | ".join(f"loss of step {n}" for n in shown) + " | error of the curve | same bits twice |",
             "|---|---|" + "---|" * len(shown) + "---|---|",
             "| double, CPU | | " + " | ".join(f"{truth['losses'][n - 1]:.6f}" for n in shown) + " | | |"]
    for precision in precisions:
        found = device.get(precision, {"failed": "not run"})
        if failure(found):
            lines.append(f"| {precision} | {not_run(found)} |" + " |" * (len(shown) + 2))
            continue
        lines.append(f"| {precision} | {distance(found['probabilities'], truth['probabilities']):.1e} | "
                     + " | ".join(f"{found['losses'][n - 1]:.6f}" for n in shown)
                     + f" | {distance(found['losses'], truth['losses']):.1e} | {'yes' if found['same_bits'] else '**NO**'} |")
    return lines


def seed_curves(results, precisions):
    """Mean and spread (largest less least) over seeds of the last epoch; and how far each precision's mean curve of
    validation losses is from fp32's at most, in spreads of fp32's seeds at that epoch."""
    seeds = results["seeds"]
    if failure(seeds):
        return [not_run(seeds)]
    ran = {p: seeds[p] for p in precisions if p in seeds and not failure(seeds[p])}
    lines = [f"- {p}: {not_run(seeds.get(p))}" for p in precisions if p not in ran]
    if not ran:
        return lines
    column = lambda runs, key: [[epoch[key] for epoch in run] for run in runs]  # noqa: E731
    lines += ["", "| | loss | validation loss | validation accuracy | furthest from fp32's curve |", "|---|---|---|---|---|"]
    for precision, runs in ran.items():
        cells = []
        for key in ("loss", "val_loss", "val_accuracy"):
            last = [run[-1] for run in column(runs, key)]
            cells.append(f"{sum(last) / len(last):.4f} (spread {max(last) - min(last):.4f})")
        if "fp32" in ran and precision != "fp32":
            far = 0.0
            for ours, theirs in zip(zip(*column(runs, "val_loss")), zip(*column(ran["fp32"], "val_loss"))):
                spread = max(theirs) - min(theirs)
                away = abs(sum(ours) / len(ours) - sum(theirs) / len(theirs))
                far = max(far, away / spread if spread else math.inf if away else 0.0)
            cells.append(f"{far:.2f} spreads: {'within' if far <= 1 else '**not within**'} the seeds' spread")
        else:
            cells.append("")
        lines.append(f"| {precision} | {' | '.join(cells)} |")
    return lines


def profiles(results, precisions):
    profile = results["profile"]
    if failure(profile):
        return [not_run(profile)]
    lines = []
    for precision in precisions:
        kernels = profile.get(precision, {"failed": "not run"})
        if failure(kernels):
            lines.append(f"- {precision}: {not_run(kernels)}")
            continue
        lines += ["", f"{precision}, the kernels above 2 % of the time of one prediction and one step:", "",
                  "| kernel | launches | us | share | multiprocessors | memory | tensor cores | warps | limited by |",
                  "|---|---|---|---|---|---|---|---|---|"]
        for k in (k for k in kernels if k["share"] > 0.02):
            high = max(("arithmetic", k["sm"]), ("memory", k["memory"]), key=lambda item: item[1])
            limit = high[0] if high[1] >= 60 else "latency (neither unit above 60 %)"
            lines.append(f"| `{k['kernel']}` | {k['launches']} | {k['microseconds']:.1f} | {k['share']:.0%} | {k['sm']:.0f} % | "
                         f"{k['memory']:.0f} % | {k['tensor']:.0f} % | {k['warps']:.0f} % | {limit} |")
    return lines


def sanitizers(results):
    found = results["sanitizer"]
    if failure(found):
        return [not_run(found)]
    return [f"- {name}: {'clean' if state == 'clean' else f'**{state}**'}" for name, state in found.items()]


def markdown(results, args):
    system = results["system"]
    facts = [f"| {name} | {value} |" for name, value in system.items()]
    build = results["build"]
    facts.append(f"| build | {failure(build) or build['note']} |")
    small = ["**Small shapes, to try the script: no figure below means anything.**", ""] if args.small else []
    figures = speed(results, args.precisions)
    if args.small:
        figures = [line.replace("reached", "small shapes").replace("MISSED", "small shapes") for line in figures]
    return "\n".join([
        f"# The GPU engine against its peers, {system.get('date', 'no date')}", "", *small,
        "    python3 tests/bench/gpu/gpu_table.py", "", "| | |", "|---|---|", *facts, "", parameters(results),
        "Medians; every ratio is the best PyTorch variant's time over ours in the same run and precision.", "",
        "## Speed", "", *figures, "",
        "## Each operation against double precision", "",
        "Norm of the difference over the norm, the worst of a case's outputs and gradients.", "",
        *errors(results, args.precisions), "", "## The whole network", "", *curves(results, args.precisions), "",
        "Whole trainings, three seeds each, last of their epochs:", "", *seed_curves(results, args.precisions), "",
        "## compute-sanitizer", "", *sanitizers(results), "",
        "## What limits the kernels", "", *profiles(results, args.precisions), "",
        "## Every variant of the peer", "", *all_peers(results), ""])
