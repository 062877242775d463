"""The CSV of the sittings: a line is one tool in one row of one sitting."""

import csv
import os
import re
import time
from pathlib import Path

FIELDS = ["sitting", "commit", "task", "network", "batch", "side", "threads", "tool", "version", "runs", "ms", "ms_min",
          "ms_p90", "error", "start_s", "peak_mb", "installed_mb", "limit_ms"]
OURS = "residuum"
# What counts as the same answer: the largest difference to PyTorch's over its largest magnitude.
SAME = 1e-4
# A tool this many times slower than the best peer with one batch is not measured with others.
FAR = 5.0
# What a tool did in so many rows tells of the others.
ENOUGH_ROWS = 3


def cpu():
    """The processor as part of a file's name."""
    text = Path("/proc/cpuinfo").read_text()
    fields = [re.search(rf"^{key}\s*:\s*(.*)$", text, re.M) for key in ("model name", "cpu family", "model")]
    return re.sub(r"[^a-z0-9]+", "-", "-".join(field[1] for field in fields if field).lower())


def path_of(sitting, folder):
    """The file that has the sitting begun already, or today's."""
    folder.mkdir(parents=True, exist_ok=True)
    begun = [path for path in folder.glob(f"*-{cpu()}.csv") if any(r["sitting"] == sitting for r in read(path))]
    return begun[0] if begun else folder / f"{time.strftime('%Y-%m-%d')}-{cpu()}.csv"


def read(path):
    """Records in the order in which they were measured, with their `row` and with numbers where those are needed."""
    if not Path(path).exists():
        return []
    with open(path, newline="") as file:
        records = list(csv.DictReader(file))
    for record in records:
        record["ms"], record["error"] = float(record["ms"]), float(record["error"] or 0)
        record["row"] = (record["task"], record["network"], int(record["batch"]), int(record["threads"]))
    return records


def read_all(folder):
    """Every sitting on this processor."""
    return [record for path in sorted(folder.glob(f"*-{cpu()}.csv")) for record in read(path)]


def append(path, records):
    """Writes the file anew, so that whoever stops it leaves a whole one."""
    kept = []
    if path.exists():
        with path.open(newline="") as file:
            kept = list(csv.DictReader(file))
    new = path.with_name(path.name + ".new")
    with new.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, restval="")
        writer.writeheader()
        writer.writerows(kept + records)
    os.replace(new, path)


def slowness(records):
    """How many times slower each tool was than the best peer of the same answer beside it: its last ratio, by row and
    tool."""
    best, found = {}, {}
    for record in records:
        beside = (record["sitting"], record["row"])
        if record["tool"] != OURS:
            # Who gives the same answer comes first, however slow; others count where there is none.
            rank = (record["error"] > SAME, record["ms"])
            best[beside] = min(rank, best.get(beside, rank))
    for record in records:
        _, least = best.get((record["sitting"], record["row"]), (False, record["ms"]))
        found[record["row"], record["tool"]] = record["ms"] / least
    return found


def known_slowness(found, row, tool):
    """The ratio of a tool in a row and the batch that it is of; of the nearest batch where the row has none."""
    task, network, batch, threads = row
    same = [(abs(r[2] - batch), r[2], ratio) for (r, name), ratio in found.items()
            if name == tool and (r[0], r[1], r[3]) == (task, network, threads)]
    return min(same)[1:] if same else None


def is_slow(found, row, tool, within):
    """Whether a tool was more times slower than the best in that row, or with another batch far too slow, or in the rows
    where it was measured slower even at its best."""
    task, _, batch, _ = row
    if known := known_slowness(found, row, tool):
        of, ratio = known
        if of == batch:
            return ratio > within
        if ratio > max(within, FAR):
            return True
    elsewhere = [ratio for (r, name), ratio in found.items() if (r[0], name) == (task, tool)]
    return len(elsewhere) >= ENOUGH_ROWS and min(elsewhere) > within
