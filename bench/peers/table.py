"""The Markdown table of a CSV of sittings: `table.py RESULTS.csv`."""

import csv
import statistics
import sys
from collections import defaultdict
from pathlib import Path

# What counts as the same answer, by the largest difference over the largest magnitude; where PyTorch's own ways
# differ more, three times that.
SAME = 1e-4
NO_ERROR = "0"


def read(path):
    with open(path, newline="") as file:
        records = list(csv.DictReader(file))
    for record in records:
        record["ms"], record["error"] = float(record["ms"]), float(record["error"] or NO_ERROR)
        record["row"] = (record["task"], record["network"], int(record["batch"]), int(record["threads"]))
    return records


def by_row(records):
    """Sittings by row: only those of the commit that the row was measured with last."""
    last = {record["row"]: record["commit"] for record in records}
    rows = defaultdict(lambda: defaultdict(dict))
    for record in records:
        if record["commit"] == last[record["row"]]:
            rows[record["row"]][record["sitting"]][record["tool"]] = record
    return rows, last


def is_same(record, sitting):
    own = sitting["torch"]["error"] if "torch" in sitting else 0.0
    return record["task"] != "infer" or record["error"] <= max(SAME, 3 * own)


def best(sitting, is_peer):
    peers = [record for tool, record in sitting.items() if tool != "residuum" and is_peer(record, sitting)]
    return min(peers, key=lambda record: record["ms"], default=None)


def ratio_cell(sittings, is_peer):
    """Best peer of the last sitting, and ours to the best in each."""
    pairs = [(best(s, is_peer), s["residuum"]["ms"]) for s in sittings]
    pairs = [(peer, ours) for peer, ours in pairs if peer]
    if not pairs:
        return "–", "–"
    ratios = [peer["ms"] / ours for peer, ours in pairs]
    spread = f" ({min(ratios):.2f}–{max(ratios):.2f})" if len(ratios) > 1 else ""
    peer = pairs[-1][0]
    return f"{peer['tool']} {peer['ms']:.4g}", f"{statistics.median(ratios):.2f}{spread}"


def row_name(row):
    task, network, batch, threads = row
    return f"{network}, batch {batch}" + ("" if threads == 2 else f", {threads} threads")


def ratios(rows, last, task):
    columns = ["row", "ours, ms", "90 %", "best peer of the same answer, ms", "ratio", "best of any, ms", "ratio", "error",
               "MB", "best peer's MB", "sittings", "commit"]
    lines = ["| " + " | ".join(columns) + " |", "|---" + "|--:" * (len(columns) - 1) + "|"]
    for row, by_sitting in rows.items():
        sittings = [s for s in by_sitting.values() if "residuum" in s]
        if row[0] != task or not sittings:
            continue
        ours, sitting = sittings[-1]["residuum"], sittings[-1]
        ms = statistics.median(s["residuum"]["ms"] for s in sittings)
        exact, anyone = ratio_cell(sittings, is_same), ratio_cell(sittings, lambda *_: True)
        peer = best(sitting, lambda *_: True)
        cells = [row_name(row), f"{ms:.4g}", ours["ms_p90"], *exact, *anyone, f"{ours['error']:.0e}", ours["peak_mb"],
                 peer["peak_mb"] if peer else "–", str(len(sittings)), last[row]]
        lines.append("| " + " | ".join(cells) + " |")
    return lines if len(lines) > 2 else []


def every_tool(rows, task):
    """Medians of all tools; a row a network, a column a tool."""
    chosen = {row: sittings for row, sittings in rows.items() if row[0] == task}
    tools = list(dict.fromkeys(tool for sittings in chosen.values() for s in sittings.values() for tool in s))
    tools.sort(key=lambda tool: tool != "residuum")
    lines = ["| row | " + " | ".join(tools) + " |", "|---" + "|--:" * len(tools) + "|"]
    for row, sittings in chosen.items():
        cells = []
        for tool in tools:
            found = [(s[tool], s) for s in sittings.values() if tool in s]
            mark = "*" if found and not is_same(*found[-1]) else ""
            cells.append(f"{statistics.median(r['ms'] for r, _ in found):.4g}{mark}" if found else "")
        lines.append(f"| {row_name(row)} | " + " | ".join(cells) + " |")
    return lines if chosen else []


def start_up(rows):
    lines = ["| row | tool | ms | fastest | peak MB | installed MB |", "|---|---|--:|--:|--:|--:|"]
    for row, by_sitting in rows.items():
        if row[0] == "start":
            tools = defaultdict(list)
            for sitting in by_sitting.values():
                for tool, record in sitting.items():
                    tools[tool].append(record)
            for tool, found in sorted(tools.items(), key=lambda item: statistics.median(r["ms"] for r in item[1])):
                ms, r = statistics.median(r["ms"] for r in found), found[-1]
                lines.append(f"| {row_name(row)} | {tool} | {ms:.0f} | {r['ms_min']} | {r['peak_mb']} | {r['installed_mb']} |")
    return lines if len(lines) > 2 else []


def markdown(path):
    records = read(path)
    rows, last = by_row(records)
    versions = dict.fromkeys(f"{r['tool'].split('-')[0]} {r['version']}" for r in records)
    intro = [f"# {Path(path).stem}", "",
             "Medians in milliseconds; a ratio is the best peer's time over ours in the same sitting, median of the"
             " sittings (least to largest). The same answer is PyTorch's within 1e-4 of its largest magnitude, or three times"
             " what PyTorch's own ways differ by; a star marks others. " + ", ".join(versions) + "."]
    sections = {"Inference": ratios(rows, last, "infer"), "Inference, every tool": every_tool(rows, "infer"),
                "Training step": ratios(rows, last, "train"), "Start-up: from a process to its first answer": start_up(rows)}
    return "\n".join(intro + [line for title, lines in sections.items() if lines
                              for line in ("", f"## {title}", "", *lines)]) + "\n"


if __name__ == "__main__":
    print(markdown(sys.argv[1]), end="")
