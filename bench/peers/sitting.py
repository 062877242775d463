"""One sitting: ours and theirs run alternately, row by row, and the times go into a CSV and a table.

sitting.py [options] [ROW…]     a row is NETWORK:BATCH, train:NETWORK:BATCH or start:NETWORK:BATCH; default: all rows
"""

import argparse
import csv
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

import table

HERE = Path(__file__).resolve().parent
RUST = {"residuum": "ours", "rten": "theirs", "tract": "theirs", "candle": "theirs", "burn": "theirs"}
PACKAGES = {"torch": ["torch", "torchvision"], "onnxruntime": ["onnxruntime"], "openvino": ["openvino"],
            "ncnn": ["ncnn"], "mnn": ["MNN"]}
FIELDS = ["sitting", "commit", "task", "network", "batch", "side", "threads", "tool", "version", "runs", "ms", "ms_min",
          "ms_p90", "error", "start_s", "peak_mb", "installed_mb"]

FAST = ["onnxruntime", "openvino", "ncnn", "mnn", "torch", "torch-frozen", "torch-compile"]
# Four times slower than the best: seen once in a row of one image.
SLOW = ["rten", "tract", "candle", "burn"]
IMAGENET = ["resnet18", "resnet34", "resnet50", "resnet152", "wide_resnet50_2", "densenet121"]
TRAINING = ["resnet20:128", "resnet110:128", "wrn_16_4:128", "densenet_bc_100_12:64", "resnet18:16", "resnet50:8"]
ROWS = [f"{network}:{batch}" for network in IMAGENET for batch in (1, 8, 32)]
ROWS += [f"{network}:{batch}" for network in ("resnet20", "resnet110", "wrn_28_10") for batch in (1, 128)]
ROWS += [f"train:{row}" for row in TRAINING] + ["start:resnet50:1"]
QUICK = ["resnet18:1", "resnet50:8", "resnet20:128", "train:resnet20:128", "start:resnet50:1"]


def parse_row(row):
    task, network, batch = ["infer", *row.split(":")][-3:]
    return task, network, int(batch)


def tools_for(task, batch):
    """Peers at their best settings for a task."""
    if task == "train":
        return ["torch"]
    if task == "start":
        return ["onnxruntime", "openvino", "openvino-cached", "ncnn", "mnn", "torch", *SLOW]
    # Several batches in flight is no answer to how long one image takes.
    return FAST + (SLOW if batch == 1 else ["openvino-throughput", "rten"])


class Worker:
    """A tool in a process of its own."""

    def __init__(self, tool, row, args):
        task, network, batch = row
        self.tool, folder = tool, args.work / network
        name = tool.split("-")[0]
        if name in RUST:
            import networks

            program = [program_of(name, args)]
            network = networks.NETWORKS[network][0] if name == "residuum" else network
        else:
            program = [sys.executable, HERE / "worker.py", tool]
        mode = "train" if task == "train" else "infer"
        variables = {"OMP_NUM_THREADS": str(args.threads), "RAYON_NUM_THREADS": str(args.threads),
                     "PYTHONWARNINGS": "ignore", "TORCHINDUCTOR_CACHE_DIR": str(args.work / "inductor")}
        begin = time.perf_counter()
        self.process = subprocess.Popen(
            [*program, network, folder, str(batch), str(args.threads), mode], env=os.environ | variables, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=open(args.work / f"{tool}.log", "w"))
        self.read()
        self.start_s = time.perf_counter() - begin

    def read(self):
        for line in self.process.stdout:
            if line.startswith("@ "):
                return json.loads(line[2:])
        raise RuntimeError("ended early")

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
        peak_mb = self.ask("quit")["peak_mb"]
        self.process.wait()
        return peak_mb


def program_of(name, args):
    return args.work / f"target-{RUST[name]}" / "release" / f"{name}-worker"


def start(tool, row, args):
    try:
        return Worker(tool, row, args)
    except (OSError, RuntimeError) as error:
        print(f"  {tool}: {error}; see {args.work / tool}.log", file=sys.stderr)


def error_of(worker, row, wanted, args):
    """Largest difference to PyTorch's answer over its largest magnitude; of training, over the first losses."""
    found = worker.answer(args.work / "answer.f32")
    if row[0] == "train":
        found = found[:3]
        wanted.setdefault("losses", found)
    expected = wanted.get("losses", wanted.get("logits"))
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def measure(row, args):
    """Times of all tools, in turns. Returns a record for each."""
    task, network, batch = row
    tools = [tool for tool in tools_for(task, batch) + ["residuum"] if not args.tools or tool in args.tools]
    started = [worker for tool in tools if (worker := start(tool, row, args))]
    wanted, times, errors, counts = {}, {}, {}, {}
    if task != "train":
        wanted["logits"] = np.fromfile(args.work / network / f"answer-{batch}.f32", np.float32)
    for worker in started:
        try:
            counts[worker], errors[worker] = warm_up(worker, args), error_of(worker, row, wanted, args)
            times[worker] = []
        except (OSError, RuntimeError) as error:
            print(f"  {worker.tool}: {error}; see {args.work / worker.tool}.log", file=sys.stderr)
    for _ in range(args.turns):
        for worker, found in times.items():
            time.sleep(0.03)  # The threads of the one before go to sleep.
            found += worker.run(counts[worker])
    return [record(worker, row, found, errors[worker], args) for worker, found in times.items()]


def warm_up(worker, args):
    """How many runs fit into a turn."""
    pace = worker.run(1)[0] / 1000
    if pace < 1:
        pace = min(worker.run(2)) / 1000
    return max(1, min(200, round(args.seconds / args.turns / pace)))


def measure_start(row, args):
    """From the start of a process to its first answer, in turns."""
    task, _, batch = row
    tools = [tool for tool in tools_for(task, batch) + ["residuum"] if not args.tools or tool in args.tools]
    seconds, peaks = {}, {}
    for turn in range(args.turns + 2):
        for tool in tools:
            if worker := start(tool, row, args):
                peaks[tool] = worker.end()
                if turn:  # The first one brings the files into memory.
                    seconds.setdefault(worker.tool, []).append(1000 * worker.start_s)
    return [stamp(row, tool, times, args) | {"peak_mb": round(peaks[tool]), "installed_mb": installed_mb(tool, args)}
            for tool, times in seconds.items()]


def record(worker, row, times, error, args):
    facts = {"error": f"{error:.1e}", "start_s": f"{worker.start_s:.2f}", "peak_mb": round(worker.end())}
    return stamp(row, worker.tool, times, args) | facts


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


def cpu():
    """The processor as part of a file's name."""
    text = Path("/proc/cpuinfo").read_text()
    fields = [re.search(rf"^{key}\s*:\s*(.*)$", text, re.M) for key in ("model name", "cpu family", "model")]
    return re.sub(r"[^a-z0-9]+", "-", "-".join(field[1] for field in fields if field).lower())


def commit():
    def git(*command):
        return subprocess.run(["git", "-C", HERE, *command], capture_output=True, text=True)

    changed = git("diff", "--quiet", "HEAD", "--", ":/crates").returncode
    return git("rev-parse", "--short", "HEAD").stdout.strip() + ("+" if changed else "")


def prepare(rows, args):
    """Files, and the compiled code that PyTorch keeps."""
    import networks

    for task, network, batch in rows:
        networks.prepare(network, batch, args.work / network)
        wanted = [tool for tool in ("torch-compile", "openvino-cached") if tool in tools_for(task, batch)]
        for tool in wanted:
            if not args.tools or tool in args.tools:
                if worker := start(tool, (task, network, batch), args):
                    worker.end()


def append(path, records):
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        if is_new:
            writer.writeheader()
        writer.writerows(records)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW")
    parser.add_argument("--work", type=Path, required=True, help="folder of the peers and their files")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the results")
    parser.add_argument("--quick", action="store_true", help=f"only {' '.join(QUICK)}")
    parser.add_argument("--prepare", action="store_true", help="write the tools' files and stop")
    parser.add_argument("--measure", action="store_true", help="everything is prepared: measure")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--turns", type=int, default=4, help="turns of each tool in a row")
    parser.add_argument("--seconds", type=float, default=3.0, help="time of each tool in a row, in all turns")
    parser.add_argument("--tools", type=lambda text: set(text.split(",")), help="only these, of those fit for a row")
    parser.add_argument("--list", action="store_true", help="print the rows and stop")
    args = parser.parse_args()
    args.sitting = time.strftime("%Y-%m-%dT%H:%M:%S")
    built = args.work / "commit"
    args.commit = built.read_text().strip() if built.exists() else commit()
    return args


def main():
    args = arguments()
    names = args.rows or (QUICK if args.quick else ROWS)
    if args.list:
        return print("\n".join(names))
    rows = [parse_row(row) for row in names]
    if not args.measure:
        prepare(rows, args)
    if args.prepare:
        return None
    path = args.out / f"{time.strftime('%Y-%m-%d')}-{cpu()}.csv"
    args.out.mkdir(parents=True, exist_ok=True)
    for name, row in zip(names, rows):
        print(name, file=sys.stderr)
        records = measure_start(row, args) if row[0] == "start" else measure(row, args)
        for r in sorted(records, key=lambda r: float(r["ms"])):
            print(f"  {r['tool']:20} {r['ms']:>8} ms  {r.get('error', '')}", file=sys.stderr)
        append(path, records)
        path.with_suffix(".md").write_text(table.markdown(path))


if __name__ == "__main__":
    main()
