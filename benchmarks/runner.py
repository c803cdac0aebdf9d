"""Measures sections of the bench, and prints one table.

    python benchmarks/bench.py [SECTION ...] [--quick] [--rounds 5] [--json FILE]     all of them: make bench
    python benchmarks/bench.py --list

Leave the machine alone meanwhile. `--quick` has fewer rounds, less work in each, and leaves the long sections
out. JSON has every single measurement.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import psutil
from measure import Samples, Section, in_turn, median_others, ratios, spread

ROUNDS, QUICK_ROUNDS = 5, 2
BUSY = 0.05  # share of the machine that others may take: what is measured with more of them is marked
Results = dict[str, tuple[Section, Samples]]


def main(sections: Sequence[Section], arguments: Sequence[str] | None = None) -> None:
    given = parse(sections, arguments)
    if given.list:
        for section in sections:
            print(f"{section.name:16} {section.figure}{'' if section.in_quick else ' (not in --quick)'}")
        return
    os.environ |= {"TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1"}
    rounds = given.rounds or (QUICK_ROUNDS if given.quick else ROUNDS)
    chosen = [one for one in sections if (one.name in given.sections) or not given.sections]
    if given.quick and not given.sections:
        chosen = [one for one in chosen if one.in_quick]
    print(f"{machine()}; {rounds} rounds" + (", quick: less work in each" if given.quick else ""), flush=True)
    print(f"\n{header()}", flush=True)
    results: Results = {}
    for section in chosen:
        with TemporaryDirectory() as folder:
            samples = in_turn(section.variants(Path(folder), given.quick), rounds, section.name)
        results[section.name] = section, samples
        print("\n".join([f"{section.name}: {section.figure}", *lines(section, samples)]), flush=True)
        if given.json:
            given.json.write_text(json.dumps(document(results, rounds, given.quick), indent=1) + "\n")
    print(f"\n{load(results)}")


def parse(sections: Sequence[Section], arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    names = [section.name for section in sections]
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"all, or some of: {' '.join(names)}")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, help=f"{ROUNDS}, with --quick {QUICK_ROUNDS}")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--list", action="store_true", help="only name the sections")
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.sections if name not in names]:
        parser.error(f"SECTION: got {', '.join(unknown)}; legal: {', '.join(names)}")
    if given.rounds is not None and given.rounds < 1:
        parser.error(f"--rounds: got {given.rounds}; legal: 1 or more")
    if given.json and not given.json.absolute().parent.is_dir():
        parser.error(f"--json: {given.json.parent}: there is no such folder")
    return given


def header() -> str:
    return f"{'':34}{'figure':>30}{'ratio':>26}{'CPU s':>9}{'others':>8}"


def lines(section: Section, samples: Mapping[str, Any]) -> list[str]:
    baseline = samples[section.baseline]
    listed = []
    for name, own in samples.items():
        figure, ratio = spread([one.value for one in own]), spread(ratios(own, baseline))
        busy = "!" if median_others(own) > BUSY else " "
        listed.append(
            f"  {name:32}{figure:>30}{'1' if name == section.baseline else ratio:>26}"
            f"{median(one.cpu_s for one in own):>9.2f}{median_others(own):>7.0%}{busy}"
        )
    return listed


def load(results: Results) -> str:
    """Says whether the machine was busy with something else."""
    disturbed = [
        f"{section.name}: {name}"
        for section, samples in results.values()
        for name, own in samples.items()
        if median_others(own) > BUSY
    ]
    if not disturbed:
        return f"Other processes took at most {BUSY:.0%} of the machine."
    return f"The machine was busy with something else (marked with !). Measure again: {'; '.join(disturbed)}"


def document(results: Results, rounds: int, quick: bool) -> dict[str, Any]:
    sections = {
        name: {
            "figure": section.figure,
            "baseline": section.baseline,
            "ratios": {row: ratios(own, samples[section.baseline]) for row, own in samples.items()},
            "samples": {row: [asdict(one) for one in own] for row, own in samples.items()},
        }
        for name, (section, samples) in results.items()
    }
    date = time.strftime("%Y-%m-%d %H:%M")
    return {"machine": machine(), "date": date, "rounds": rounds, "quick": quick, "sections": sections}


def machine() -> str:
    """Names processor, cores, and the widest vectors that they compute with."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux
        return f"{platform.processor() or platform.machine()}, {psutil.cpu_count()} cores"
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    about = {name.strip(): value.strip() for name, value in fields.items()}
    widest = next((one for one in ("avx512f", "avx2") if one in about.get("flags", "").split()), "no AVX2")
    return f"{about.get('model name', platform.machine())}, {psutil.cpu_count()} cores, {widest}"
