"""The A/A sweep, judged: how often nothing comes out as something, how noisy a run is, what a run costs.

    python benchmarks/aa.py RESULTS [ablations/aa.yaml]

Replicates 0 and 1, 2 and 3, … are pairs whose true difference is zero. Each is judged with every seed alone (a
statement on two trained models; with seed noise, one on the design) and with all its seeds. `different` is
the verdict better or worse; `not zero` leaves the smallest effect that matters aside. What is not finished is left out.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum, sqrt
from pathlib import Path

from components import complete_runs
from scipy.stats import binomtest, chi2

from harness.analysis.statistics.differences import Difference
from harness.analysis.statistics.power import Noise, detectable, pooled_noise
from harness.analysis.stored.runs import Run, Runs
from harness.analysis.stored.sweeps import SavedSweep
from harness.analysis.tables.table import MEAN, difference, judged

DIFFERENT = ("better", "worse")
HOUR = 3600.0


@dataclass(frozen=True)
class Pair:
    """Two replicates with the runs of the seeds that both have finished."""

    name: str
    first: Runs
    second: Runs

    def with_seeds(self, count: int) -> list[Pair]:
        """One pair for every ``count`` seeds; independent, since nothing is shared between seeds."""
        parts = [slice(start, start + count) for start in range(0, len(self.first) - count + 1, count)]
        return [replace(self, first=Runs(self.first[part]), second=Runs(self.second[part])) for part in parts]

    @property
    def core_seconds(self) -> float:
        return fsum(run.core_seconds or 0.0 for run in (*self.first, *self.second))


def pairs_of(sweep: SavedSweep, runs: Sequence[Run]) -> list[Pair]:
    """Disjoint pairs in the order of the variants."""
    names = [variant.name for variant in sweep.variants]
    by_variant = {name: {run.entry.seed: run for run in runs if run.entry.variant == name} for name in names}
    found = []
    for one, two in zip(names[::2], names[1::2], strict=False):
        seeds = [seed for seed in sweep.seeds if seed in by_variant[one] and seed in by_variant[two]]
        if seeds:
            sides = (Runs(by_variant[name][seed] for seed in seeds) for name in (one, two))
            found.append(Pair(f"{one} and {two}", *sides))
    return found


def seed_noise(runs: Sequence[Run], tasks: Sequence[str]) -> dict[str, Noise]:
    """Of the mean and of each benchmark: all runs are of one design, replicates and seeds are exchangeable."""
    found = {}
    for key in (MEAN, *tasks):
        chosen = tasks if key == MEAN else (key,)
        values = [fsum(run.scores[task].mean for task in chosen) / len(chosen) for run in runs]
        noise = pooled_noise([values])
        if noise is not None:
            found[key] = noise
    return found


def judge_pairs(sweep: SavedSweep, pairs: Sequence[Pair], noise: Mapping[str, Noise]) -> dict[str, list[Difference]]:
    """By benchmark, the judged difference of each pair."""
    with_noise = replace(sweep, seed_noise=noise)
    return {
        key: [judged(with_noise, difference(with_noise, key, [(1.0, p.second), (-1.0, p.first)]), None) for p in pairs]
        for key in (MEAN, *sweep.tasks)
    }


def rate(hits: int, count: int) -> str:
    if not count:
        return "none"
    interval = binomtest(hits, count).proportion_ci(0.95, method="exact")
    return f"{hits:2} of {count:2}: {100 * hits / count:3.0f} % [{100 * interval.low:.0f}, {100 * interval.high:.0f}]"


def show_pairs(pairs: Sequence[Pair], found: Sequence[Difference]) -> None:
    for pair, each in zip(pairs, found, strict=True):
        interval, p = each.judged, each.adjusted
        assert interval is not None
        bounds = f"[{interval.low:+6.1f}, {interval.high:+6.1f}]" if interval.low is not None else "no interval"
        print(f"  {pair.name:34} {interval.mean:+6.1f} {bounds}  p {p:.3f}  {each.verdict}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("sweep", nargs="?", default="ablations/aa.yaml")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    arguments = parser.parse_args()
    sweep, runs = complete_runs(arguments.sweep, arguments.overrides, arguments.results)
    print(f"{len(runs)} of {len(sweep.runs)} runs are complete")
    noise = seed_noise(runs, sweep.tasks)
    pairs = pairs_of(sweep, runs)
    most = max(len(sweep.seeds), 1)
    ways = {
        "one seed, as a statement on the trained models": (1, {}),
        "one seed, with the seed noise below": (1, noise),
        "one seed, with the seed noise of the scale": (1, sweep.seed_noise),
        f"{most} seeds": (most, {}),
    }
    decided: dict[str, tuple[float, int]] = {}
    for name, (seeds, known) in ways.items():
        chosen = [pair for each in pairs for pair in each.with_seeds(seeds)]
        found = judge_pairs(sweep, chosen, known)
        print(f"\n{name}; the mean")
        show_pairs(chosen, found[MEAN])
        for key, each in found.items():
            verdicts = Counter(one.verdict for one in each)
            different = sum(verdicts[verdict] for verdict in DIFFERENT)
            rejected = sum(one.p is not None and one.p < 1 - sweep.confidence for one in each)
            print(
                f"  {key:8} different {rate(different, len(each)):26} not zero {rate(rejected, len(each)):26}", end=""
            )
            print(f" equivalent {verdicts['equivalent']}, inconclusive {verdicts['inconclusive']}")
        verdicts = Counter(one.verdict for one in found[MEAN])
        decided[name] = (fsum(pair.core_seconds for pair in chosen), verdicts["equivalent"])

    print("\nstandard deviation of a run's score (points)")
    for key, each in noise.items():
        low, high = (each.deviation * sqrt(each.degrees / chi2.ppf(q, each.degrees)) for q in (0.975, 0.025))
        print(
            f"  {key:8} {each.deviation:6.2f}, 95 % interval {low:.2f} to {high:.2f}, {each.degrees} degrees of freedom"
        )
    if noise:
        numbers = ", ".join(f"{key}: {each.deviation:.2f}" for key, each in noise.items())
        print(f"\nanalysis: {{seed_noise: {{degrees: {noise[MEAN].degrees}, {numbers}}}}}")

    print("\nprice")
    costs = [run.core_seconds for run in runs if run.core_seconds is not None]
    each_run = fsum(costs) / len(costs)
    print(f"  {each_run:.0f} core-seconds a run (training and four benchmarks; {min(costs):.0f} to {max(costs):.0f})")
    for name, (cost, done) in decided.items():
        price = f"{cost / done:.0f} core-seconds each" if done else "no price"
        print(f"  {name}: {cost:.0f} core-seconds, {done} pairs rightly called equivalent (mean): {price}")
    seeds = int(HOUR / each_run / 2)
    if MEAN in noise and seeds > 1:
        effect = detectable(noise[MEAN].deviation * sqrt(2), seeds, sweep.confidence, sweep.power)
        print(f"  one core-hour buys {seeds} seeds of two variants, which find {effect:.1f} points of the mean")


if __name__ == "__main__":
    main()
