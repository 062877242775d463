"""One sitting: ours and theirs run alternately, row by row, and the times go into a CSV and a table.

sitting.py [options] [ROW…]     a row is NETWORK:BATCH, train:NETWORK:BATCH or start:NETWORK:BATCH; default: all rows
"""

import argparse
import importlib.metadata
import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import results
import table

HERE = Path(__file__).resolve().parent
RUST = {"residuum": "ours", "rten": "theirs", "tract": "theirs", "candle": "theirs", "burn": "theirs"}
PACKAGES = {"torch": ["torch", "torchvision"], "onnxruntime": ["onnxruntime"], "openvino": ["openvino"],
            "ncnn": ["ncnn"], "mnn": ["MNN"]}

# Peers at their best settings for a task.
TOOLS = {
    "infer": ["onnxruntime", "openvino", "openvino-throughput", "ncnn", "mnn", "torch", "torch-frozen", "torch-compile",
              "rten", "tract", "candle", "burn"],
    "train": ["torch", "torch-compile", "burn"],
    "start": ["onnxruntime", "openvino", "openvino-cached", "ncnn", "mnn", "torch", "rten", "tract", "candle", "burn"],
}
IMAGENET = ["resnet18", "resnet34", "resnet50", "resnet152", "wide_resnet50_2", "densenet121"]
TRAINING = ["resnet20:128", "resnet110:128", "wrn_16_4:128", "densenet_bc_100_12:64", "resnet18:16", "resnet50:8"]
ROWS = [f"{network}:{batch}" for network in IMAGENET for batch in (1, 8, 32)]
ROWS += [f"{network}:{batch}" for network in ("resnet20", "resnet110", "wrn_28_10") for batch in (1, 128)]
ROWS += [f"train:{row}" for row in TRAINING] + ["start:resnet50:1"]
QUICK = ["resnet18:1", "resnet50:8", "resnet20:128", "train:resnet20:128", "start:resnet50:1"]

# Seconds of a tool that was never measured in a row, and how much longer all takes than runs and starts.
TOOL_SECONDS, BESIDES = 10.0, 1.2
ROWS_LEFT = 3


def parse_row(row):
    task, network, batch = ["infer", *row.split(":")][-3:]
    return task, network, int(batch)


def tools_of(row, args):
    """Who takes part in a row: not who was too slow before."""
    task, network, batch = row
    tools = []
    for tool in [*TOOLS[task], results.OURS]:
        if args.tools and tool not in args.tools:
            continue
        # Several batches in flight are no answer to how long one image takes.
        if batch == 1 and tool == "openvino-throughput":
            continue
        # Its compiler takes minutes, which no measurement waits for.
        if tool == "torch-compile" and args.measure and not compiled(row, args).exists():
            continue
        # PyTorch's memory and losses are what the others' are compared with.
        needed = tool == results.OURS or (task, tool) == ("train", "torch")
        if needed or not results.is_slow(args.slowness, (*row, args.threads), tool, args.within):
            tools.append(tool)
    return tools


def compiled(row, args):
    """Says that the compiler has done its work for a row."""
    task, network, batch = row
    return args.work / network / f"compiled-{task}-{batch}"


class Worker:
    """A tool in a process of its own."""

    def __init__(self, tool, row, args):
        task, network, batch = row
        self.tool, folder = tool, args.work / network
        name = tool.split("-")[0]
        if name in RUST:
            import networks

            program = [program_of(name, args)]
            network = networks.NETWORKS[network][0] if name == results.OURS else network
        else:
            program = [sys.executable, HERE / "worker.py", tool]
        mode = "train" if task == "train" else "infer"
        variables = {"OMP_NUM_THREADS": str(args.threads), "RAYON_NUM_THREADS": str(args.threads),
                     "PYTHONWARNINGS": "ignore", "TORCHINDUCTOR_CACHE_DIR": str(args.work / "inductor")}
        begin = time.perf_counter()
        self.process = subprocess.Popen(
            [*program, network, folder, str(batch), str(args.threads), mode], env=os.environ | variables, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log_of(tool, args).open("w"))
        self.read()
        self.start_s = time.perf_counter() - begin

    def read(self):
        for line in self.process.stdout:
            if line.startswith("@ "):
                return json.loads(line[2:])
        raise RuntimeError(f"ended with status {self.process.wait()}")

    def ask(self, request):
        self.process.stdin.write(request + "\n")
        self.process.stdin.flush()
        return self.read()

    def run(self, count):
        return self.ask(f"run {count}")["ms"]

    def answer(self, path):
        self.ask(f"answer {path}")
        return np.fromfile(path, np.float32)

    def end(self):
        """The most memory, and of ours the limit."""
        facts = self.ask("quit")
        self.process.wait()
        facts["peak_mb"] = round(facts["peak_mb"])
        return facts

    def kill(self):
        self.process.kill()
        self.process.wait()


def program_of(name, args):
    return args.work / f"target-{RUST[name]}" / "release" / f"{name}-worker"


def log_of(tool, args):
    return args.work / f"{tool}.log"


def start(tool, row, args):
    name = tool.split("-")[0]
    if name in RUST and not program_of(name, args).exists():
        return print(f"  {tool}: not built", file=sys.stderr)
    try:
        return Worker(tool, row, args)
    except (OSError, RuntimeError) as error:
        return complain(tool, error, args)


def complain(tool, error, args):
    """One line: the last that the tool wrote."""
    said = log_of(tool, args).read_text(errors="replace").strip().splitlines() or [str(error)]
    print(f"  {tool}: {said[-1][:200]}; see {log_of(tool, args)}", file=sys.stderr)


def error_of(worker, row, wanted, args):
    """Largest difference to PyTorch's answer over its largest magnitude; of training, over the first losses, three or
    as many as both have after their warming up."""
    found = worker.answer(args.work / "answer.f32")
    if row[0] == "train":
        losses = wanted.setdefault("losses", found)
        count = min(3, len(found), len(losses))
        found, expected = found[:count], losses[:count]
    else:
        expected = wanted["logits"]
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def measure(row, args):
    """Times of all tools, in turns. Returns a record for each."""
    task, network, batch = row
    begin = time.perf_counter()
    started = [worker for tool in tools_of(row, args) if (worker := start(tool, row, args))]
    wanted, times, errors, counts = {}, {}, {}, {}
    if task != "train":
        wanted["logits"] = np.fromfile(args.work / network / f"answer-{batch}.f32", np.float32)

    def attempt(worker, action):
        try:
            action(worker)
        except (OSError, RuntimeError, ValueError) as error:
            complain(worker.tool, error, args)
            worker.kill()
            times.pop(worker, None)

    def begin_with(worker):
        counts[worker], errors[worker] = warm_up(worker, args), error_of(worker, row, wanted, args)
        times[worker] = []

    def take_turn(worker):
        time.sleep(0.03)  # The threads of the one before go to sleep.
        times[worker] += worker.run(counts[worker])

    for worker in started:
        attempt(worker, begin_with)
    for turn in range(args.turns):
        turn_begin = time.perf_counter()
        for worker in list(times):
            attempt(worker, take_turn)
        now = time.perf_counter()
        if turn and now - begin + (now - turn_begin) > args.row_seconds:
            break
    return [record(worker, row, found, errors[worker], args) for worker, found in times.items()]


def warm_up(worker, args):
    """How many runs fit into a turn."""
    pace = worker.run(1)[0] / 1000
    if pace < 1:
        pace = min(worker.run(2)) / 1000
    return max(1, min(200, round(args.seconds / args.turns / pace)))


def measure_start(row, args):
    """From the start of a process to its first answer, in turns."""
    tools = tools_of(row, args)
    seconds, facts = {}, {}
    for turn in range(args.turns + 2):
        for tool in tools:
            if worker := start(tool, row, args):
                facts[tool] = worker.end()
                if turn:  # The first one brings the files into memory.
                    seconds.setdefault(tool, []).append(1000 * worker.start_s)
    return [stamp(row, tool, times, args) | {"peak_mb": facts[tool]["peak_mb"], "installed_mb": installed_mb(tool, args)}
            for tool, times in seconds.items()]


def record(worker, row, times, error, args):
    facts = worker.end()
    if "limit_ms" in facts:
        facts["limit_ms"] = f"{facts['limit_ms']:.4g}"
    return stamp(row, worker.tool, times, args) | {"error": f"{error:.1e}", "start_s": f"{worker.start_s:.2f}"} | facts


def stamp(row, tool, times, args):
    import networks

    task, network, batch = row
    times = sorted(times)
    numbers = {"ms": statistics.median(times), "ms_min": times[0], "ms_p90": times[int(0.9 * len(times))]}
    return {"sitting": args.sitting, "commit": args.commit, "task": task, "network": network, "batch": batch,
            "side": networks.NETWORKS[network][1], "threads": args.threads, "tool": tool, "version": version(tool),
            "runs": len(times)} | {key: f"{value:.4g}" for key, value in numbers.items()}


def version(tool):
    name = tool.split("-")[0]
    if name in PACKAGES:
        return importlib.metadata.version(PACKAGES[name][0])
    lock = (HERE / "rust" / "Cargo.lock").read_text()
    package = {"candle": "candle-core", "tract": "tract-onnx"}.get(name, name)
    return re.search(rf'name = "{package}"\nversion = "(.*)"', lock)[1]


def installed_mb(tool, args):
    name = tool.split("-")[0]
    if name in RUST:
        return round(program_of(name, args).stat().st_size / 1e6, 1)
    files = [file.locate() for package in PACKAGES[name] for file in importlib.metadata.files(package)]
    return round(sum(file.stat().st_size for file in files if file.exists()) / 1e6, 1)


def commit():
    def git(*command):
        return subprocess.run(["git", "-C", HERE, *command], capture_output=True, text=True)

    changed = git("diff", "--quiet", "HEAD", "--", ":/crates").returncode
    return git("rev-parse", "--short", "HEAD").stdout.strip() + ("+" if changed else "")


def prepare(rows, args):
    """Files, and the compiled code that PyTorch and OpenVINO keep."""
    import networks

    for task, network, batch in rows:
        networks.prepare(network, batch, args.work / network, is_training=task == "train")
    for row in rows:
        for tool in tools_of(row, args):
            if tool in ("torch-compile", "openvino-cached"):
                print(f"compiling {':'.join(map(str, row))} for {tool}", file=sys.stderr)
                if worker := start(tool, row, args):
                    worker.end()
                    compiled(row, args).touch()


def seconds_of(row, records, args):
    """What a row will take, by what its tools took last."""
    last = {r["tool"]: float(r["start_s"] or 0) + r["ms"] / 1000 * (int(r["runs"]) + 3)
            for r in records if r["row"] == (*row, args.threads)}
    return BESIDES * sum(last.get(tool, TOOL_SECONDS) for tool in tools_of(row, args))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW")
    parser.add_argument("--work", type=Path, required=True, help="folder of the peers and their files")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the results")
    parser.add_argument("--quick", action="store_true", help=f"only {' '.join(QUICK)}")
    parser.add_argument("--prepare", action="store_true", help="write the tools' files and stop")
    parser.add_argument("--measure", action="store_true", help="everything is prepared: measure")
    parser.add_argument("--sitting", metavar="NAME", default=time.strftime("%Y-%m-%dT%H:%M:%S"),
                        help="name of the sitting; rows that one of this name has already are not measured again")
    parser.add_argument("--for", type=float, dest="span", metavar="SECONDS",
                        help=f"begin no row that would end later than that; the exit status is {ROWS_LEFT} while rows are left")
    parser.add_argument("--within", type=float, default=results.FAR, metavar="RATIO",
                        help=f"leave out peers that were more times slower than the best in a row before [default: {results.FAR:g}]")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--turns", type=int, default=4, help="turns of each tool in a row")
    parser.add_argument("--seconds", type=float, default=3.0, help="time of each tool in a row, in all turns")
    parser.add_argument("--row-seconds", type=float, default=100.0, help="no more turns than two after that")
    parser.add_argument("--tools", type=lambda text: set(text.split(",")), help="only these, of those fit for a row")
    parser.add_argument("--list", action="store_true", help="print the rows with the seconds they took last and the tools, and stop")
    args = parser.parse_args()
    built = args.work / "commit"
    args.commit = built.read_text().strip() if built.exists() else commit()
    args.slowness = results.slowness(results.read_all(args.out))
    return args


def sit(names, args):
    """Measures the rows that the sitting does not have yet; returns whether any are left."""
    path, begin, measured = results.path_of(args.sitting, args.out), time.perf_counter(), 0
    for name in names:
        row, records = parse_row(name), results.read_all(args.out)
        if any(r["sitting"] == args.sitting and r["row"] == (*row, args.threads) for r in records):
            continue
        gone = time.perf_counter() - begin
        if args.span and measured and gone + seconds_of(row, records, args) > args.span:
            return True
        args.slowness = results.slowness(records)
        everyone = [tool for tool in TOOLS[row[0]] if not args.tools or tool in args.tools]
        left_out = [tool for tool in everyone if tool not in tools_of(row, args)]
        print(f"{name}" + (f", without {' '.join(left_out)}" if left_out else ""), file=sys.stderr)
        found = measure_start(row, args) if row[0] == "start" else measure(row, args)
        if not found:
            sys.exit(f"{name}: no tool could be measured")
        for r in sorted(found, key=lambda r: float(r["ms"])):
            print(f"  {r['tool']:20} {r['ms']:>8} ms  {r.get('error', '')}", file=sys.stderr)
        results.append(path, found)
        measured += 1
        path.with_suffix(".md").write_text(table.markdown(path))
    return False


def main():
    args = arguments()
    names = args.rows or (QUICK if args.quick else ROWS)
    if args.list:
        records = results.read_all(args.out)
        for name in names:
            tools = tools_of(parse_row(name), args)
            print(f"{name:26} {seconds_of(parse_row(name), records, args):5.0f} s  {' '.join(tools)}")
        return
    if not args.measure:
        prepare([parse_row(name) for name in names], args)
    if not args.prepare and sit(names, args):
        sys.exit(ROWS_LEFT)


if __name__ == "__main__":
    main()
