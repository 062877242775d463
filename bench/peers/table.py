"""The Markdown table of a CSV of sittings: `table.py RESULTS.csv`."""

import statistics
import sys
from collections import defaultdict
from pathlib import Path

import results
from results import OURS, SAME


class Row:
    """What is known of a row: the sittings with our last commit there, and of every tool its last record."""

    def __init__(self, row, records, own_error):
        self.row, self.task, self.own_error = row, row[0], own_error
        self.last = {record["tool"]: record for record in records}
        ours = [record for record in records if record["tool"] == OURS]
        self.commit = ours[-1]["commit"] if ours else None
        sittings = defaultdict(dict)
        for record in records:
            sittings[record["sitting"]][record["tool"]] = record
        self.records = records
        self.sittings = [s for s in sittings.values() if OURS in s and s[OURS]["commit"] == self.commit]

    def name(self):
        _, network, batch, threads = self.row
        return f"{network}, batch {batch}" + ("" if threads == 2 else f", {threads} threads")

    def found(self, tool):
        return [s[tool] for s in self.sittings if tool in s]

    def median(self, tool, field="ms"):
        values = [float(record[field]) for record in self.found(tool) if record.get(field)]
        return statistics.median(values) if values else None

    def is_same(self, record):
        """Very deep random networks differ by more among PyTorch's own ways."""
        return self.task != "infer" or record["error"] <= max(SAME, 3 * self.own_error)

    def best(self, sitting, is_peer):
        peers = [record for tool, record in sitting.items() if tool != OURS and is_peer(record)]
        return min(peers, key=lambda record: record["ms"], default=None)

    def ratios(self, is_peer):
        """The best peer of the last sitting, and in each sitting the best one's time over ours. A sitting counts if the
        peer took part whose median over all sittings is the least: others would flatter us."""
        times = defaultdict(list)
        for record in self.records:
            if record["tool"] != OURS and is_peer(record):
                times[record["tool"]].append(record["ms"])
        wanted = min(times, key=lambda tool: statistics.median(times[tool]), default=None)
        counted = [s for s in self.sittings if wanted in s]
        pairs = [(self.best(s, is_peer), s[OURS]) for s in counted]
        return (pairs[-1][0], [peer["ms"] / ours["ms"] for peer, ours in pairs]) if pairs else (None, [])


def rows_of(records):
    """By network in the order in which they were measured first, and by batch."""
    by_row, own_errors = defaultdict(list), defaultdict(float)
    for record in records:
        by_row[record["row"]].append(record)
        if record["tool"] == "torch":
            network = record["row"][:2]
            own_errors[network] = max(own_errors[network], record["error"])
    networks = list(dict.fromkeys(row[1] for row in by_row))
    rows = sorted(by_row, key=lambda row: (networks.index(row[1]), row))
    return [Row(row, by_row[row], own_errors[row[:2]]) for row in rows]


def line(cells):
    return "| " + " | ".join(cells) + " |"


def head(columns, left=1):
    return [line(columns), "|---" * left + "|--:" * (len(columns) - left) + "|"]


def ratio_cells(peer, ratios):
    if peer is None:
        return ["–", "–"]
    spread = f" ({min(ratios):.2f}–{max(ratios):.2f})" if len(ratios) > 1 else ""
    return [f"{peer['tool']} {peer['ms']:.4g}", f"{statistics.median(ratios):.2f}{spread}"]


def memory_cell(row, tool):
    """Our peak over that of a peer in the same sittings, or in its last one."""
    theirs = row.median(tool, "peak_mb") or float(row.last[tool]["peak_mb"])
    return f"{row.median(OURS, 'peak_mb') / theirs:.2f}"


def ratio_table(rows, task):
    columns = ["row", "ours, ms", "90 %", "best peer of the same answer, ms", "ratio", "best of any, ms", "ratio",
               "share of the limit", "error", "MB", "of the best peer's", "of PyTorch's", "sittings", "commit"]
    lines = head(columns)
    for row in rows:
        if row.task != task or not row.sittings:
            continue
        exact, anyone = row.ratios(row.is_same), row.ratios(lambda _: True)
        limit = row.median(OURS, "limit_ms")
        lines.append(line([
            row.name(), f"{row.median(OURS):.4g}", f"{row.median(OURS, 'ms_p90'):.4g}", *ratio_cells(*exact),
            *ratio_cells(*anyone), f"{100 * limit / row.median(OURS):.0f} %" if limit else "–",
            f"{row.last[OURS]['error']:.0e}", f"{row.median(OURS, 'peak_mb'):.0f}",
            memory_cell(row, anyone[0]["tool"]) if anyone[0] else "–", memory_cell(row, "torch") if "torch" in row.last else "–",
            str(len(anyone[1])), row.commit]))
    return lines if len(lines) > 2 else []


def every_tool(rows, task, records):
    """Medians of all tools; a row a network, a column a tool."""
    rows = [row for row in rows if row.task == task]
    tools = list(dict.fromkeys(tool for row in rows for tool in row.last))
    tools.sort(key=lambda tool: tool != OURS)
    slowness = results.slowness(records)
    lines = head(["row", *tools])
    for row in rows:
        lines.append(line([row.name(), *(tool_cell(row, tool, slowness) for tool in tools)]))
    return lines if rows else []


def tool_cell(row, tool, slowness):
    """The median; of a tool that these sittings left out the last time (†), or how slow it was with another batch."""
    if found := row.found(tool):
        return f"{row.median(tool):.4g}" + ("" if row.is_same(found[-1]) else "*")
    if tool in row.last and tool != OURS:
        return f"{row.last[tool]['ms']:.4g}" + ("" if row.is_same(row.last[tool]) else "*") + "†"
    known = results.known_slowness(slowness, row.row, tool)
    return f"not run, {known[1]:.0f}× at batch {known[0]}" if known and known[1] >= results.FAR else ""


def start_up(rows):
    lines = head(["row", "tool", "ms", "fastest", "peak MB", "installed MB"], left=2)
    for row in rows:
        if row.task == "start":
            for tool in sorted(row.last, key=lambda tool: row.median(tool) or row.last[tool]["ms"]):
                found = row.found(tool) or [row.last[tool]]
                ms, fastest = (statistics.median(float(r[key]) for r in found) for key in ("ms", "ms_min"))
                mark = "" if row.found(tool) else "†"
                lines.append(line([row.name(), tool, f"{ms:.0f}{mark}", f"{fastest:.0f}", str(found[-1]["peak_mb"]),
                                   str(found[-1]["installed_mb"])]))
    return lines if len(lines) > 2 else []


def markdown(path):
    records = results.read(path)
    rows = rows_of(records)
    versions = dict.fromkeys(f"{r['tool'].split('-')[0]} {r['version']}" for r in records)
    intro = [f"# {Path(path).stem}", "",
             "Medians in milliseconds over the sittings of the commit; a ratio is the best peer's time over ours in the same"
             " sitting, median (least to largest) of the sittings in which the peer took part whose median over all sittings"
             " is the least. The same answer is PyTorch's within 1e-4 of its largest magnitude, or three times what PyTorch's own ways"
             " differ by with that network; a star marks others. † was measured in an earlier sitting, and its time is not to"
             " be compared. The limit is the least time of the algorithms that were chosen; memory is the most that the process"
             " had, ours as a share of theirs. " + ", ".join(versions) + "."]
    sections = {"Inference": ratio_table(rows, "infer"), "Inference, every tool": every_tool(rows, "infer", records),
                "Training step": ratio_table(rows, "train"),
                "Training step, every tool": every_tool(rows, "train", records),
                "Start-up: from a process to its first answer": start_up(rows)}
    return "\n".join(intro + [text for title, lines in sections.items() if lines
                              for text in ("", f"## {title}", "", *lines)]) + "\n"


if __name__ == "__main__":
    print(markdown(sys.argv[1]), end="")
