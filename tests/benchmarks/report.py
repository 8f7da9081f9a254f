"""What was measured: a JSON file a machine, and the tables of docs/speed.md made from it."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import torch

from harness.spec import environment
from tests.benchmarks.measure import Timing
from tests.benchmarks.step_counts import Count

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "speed.md"
FOLDER = ROOT / "reports" / "measured"
Record = dict[str, Any]


def processor() -> str:
    """The CPU's own name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    found = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return found[0] if found else platform.machine()


def machine() -> Record:
    """Where and of what it was measured."""
    commit, dirty = environment.git_state()
    return {
        "processor": processor(),
        "cores": psutil.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
        "versions": environment.library_versions(),
        "commit": commit,
        "dirty": dirty,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def place(name: str = "") -> Path:
    """reports/measured/<machine>.json"""
    where = machine()
    words = (name or where["gpu"] or where["processor"]).replace("(R)", "").replace("(TM)", "")
    kept = "".join(c if c.isalnum() else "-" for c in words.lower())
    return FOLDER / f"{'-'.join(filter(None, kept.split('-')))}-{where['cores']}.json"


def write(path: Path, **parts: Any) -> Record:
    """Put what was measured into a file; parts that were not measured now stay as they were."""
    found: Record = json.loads(path.read_text()) if path.exists() else {}
    rows = {r["row"] for r in parts.get("timings", [])}
    before = [r for r in found.get("timings", []) if r["row"] not in rows]
    if "timings" in parts:
        parts["timings"] = before + parts["timings"]
    found |= {"machine": machine()} | parts
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")
    return found


def timing(found: Timing, about: str, facts: Mapping[str, Any]) -> Record:
    return asdict(found) | {"reached": found.reached, "about": about, "facts": dict(facts)}


def counted(found: Count) -> Record:
    return asdict(found) | {"ratio": found.ratio, "reached": found.reached}


# --- as text ----------------------------------------------------------------------------------


def page(record: Record) -> None:
    """Write the tables into docs/speed.md, between their marks."""
    text = PAGE.read_text()
    tables = {"counts": _counts, "measured": _timings, "scaling": _scaling}
    for mark, table in tables.items():
        lines = table(record)
        begin, end = f"<!-- {mark} -->\n", f"<!-- end of {mark} -->"
        if lines and begin in text:
            head, _, rest = text.partition(begin)
            text = head + begin + "\n".join(lines) + "\n" + end + rest.partition(end)[2]
    PAGE.write_text(text)


def sentence(found: Record) -> str:
    """A timing as one line for the terminal."""
    goal = ""
    if found["goal"] is not None:
        goal = f"  goal {number(found['goal'])}: {_word(found['reached'])}"
    spread = f"({number(found['low'])} to {number(found['high'])})"
    return (
        f"{found['row']:14} {found['case']}, {found['peer']} / {found['ours']}:"
        f" {number(found['median'])} {spread}{goal}"
    )


def _counts(record: Record) -> list[str]:
    rows = ["| count | of | peer | ours | peer's | peer's / ours | goal |"]
    rows.append("|---|---|---|---:|---:|---:|---|")
    for c in record.get("counts", []):
        ratio = f"{c['ratio']:.2f}" if c["peer"] else ""
        theirs = _big(c["theirs"]) if c["peer"] else ""
        rows.append(
            f"| `{c['row']}` | {c['case']} | {c['peer']} | {_big(c['ours'])} | {theirs} | {ratio}"
            f" | {_goal(c, 'at least' if c['peer'] else 'under')} |"
        )
    return rows if record.get("counts") else []


def _timings(record: Record) -> list[str]:
    if not record.get("timings"):
        return []
    where = record["machine"]
    rows = [
        f"On {where['cores']} cores of {where['processor']} ({where['date']}, PyTorch"
        f" {where['versions']['torch']}); the lower quartile is held against the goal.",
        "",
        "| row | case | peer | peer / ours | goal | ours |",
        "|---|---|---|---:|---|---:|",
    ]
    for t in record["timings"]:
        ratio = f"{number(t['median'])} ({number(t['low'])} to {number(t['high'])})"
        rows.append(
            f"| `{t['row']}` | {t['case']} | {t['peer']} | {ratio} | {_goal(t, 'at least')}"
            f" | {number(t['ours_ms'])} ms |"
        )
    rows += ["", *_facts(record["timings"])]
    return rows


def _facts(timings: Sequence[Record]) -> list[str]:
    """What cases noted beside their times, once a case."""
    seen = {(t["row"], t["case"]): t["facts"] for t in timings if t["facts"]}
    lines = []
    for (row, case), facts in seen.items():
        told = "; ".join(f"{name} {_fact(value)}" for name, value in facts.items())
        lines.append(f"- `{row}`, {case}: {told}.")
    return lines


def _fact(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {v:.2f}" for k, v in value.items())
    if isinstance(value, float):
        return f"{value:.3g}" if value < 1 else f"{value:.2f}"
    return _big(value) if isinstance(value, int) else str(value)


def _scaling(record: Record) -> list[str]:
    from tests.benchmarks.scaling import words

    return words(record.get("scaling", []))


def _goal(found: Record, how: str) -> str:
    if found["goal"] is None:
        return ""
    return f"{how} {number(found['goal'])}: {_word(found['reached'])}"


def _word(reached: bool) -> str:
    return "reached" if reached else "missed"


def _big(value: float) -> str:
    for size, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M")):
        if value >= size:
            return f"{value / size:.2f}{unit}"
    return f"{value:,.0f}"


def number(value: float) -> str:
    """Three figures."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
