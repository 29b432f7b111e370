"""Whether the verdicts keep their promises: simulated sweeps judged by the package's own functions.

    python benchmarks/calibration.py [--sweeps 10000] [--seed 0] [--components FILE] [--only NAME …]

The sweeps are those of benchmarks/simulated_scores.py: four benchmarks of 200 questions with the variance components of
real runs. Everything from scores to verdicts goes through harness.analysis: `difference` (which calls `contrast`),
`correct`, `judged`, `detectable`. The bootstrap is the exception: no verdict of the
package comes from one, this shows why.
docs/calibration.md says what each line means.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import fsum, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import simulated_scores
from scipy.optimize import brentq
from scipy.stats import binomtest, chi2
from simulated_scores import METRICS, Scenario, Sweeps, World

from harness.analysis.samples.scores import TaskScores
from harness.analysis.statistics.differences import Difference
from harness.analysis.statistics.family import correct
from harness.analysis.statistics.intervals import Interval, t_probability, t_quantile
from harness.analysis.statistics.power import Noise, detectable, pooled_noise, seeds_to_detect, seeds_to_equate
from harness.analysis.statistics.verdicts import judge
from harness.analysis.stored.runs import Run, Runs
from harness.analysis.stored.sweeps import RunEntry, SavedSweep
from harness.analysis.tables.table import difference, judged

CONFIDENCE, POWER = 0.95, 0.8
CHUNK = 250  # sweeps drawn at a time
SCORES = ("mean", "textvqa", "coco")
DIFFERENT = ("better", "worse")
DEGREES = (
    39  # of a seed noise known from forty trainings of one design; that of the micro scale, over four designs, has 6
)


def saved_sweep(tasks: Sequence[str], min_effect: float = 0.0) -> SavedSweep:
    return SavedSweep(
        name="simulated",
        question="",
        digest="",
        factors={},
        tasks=tuple(tasks),
        seeds=(),
        primary="mean",
        min_effect=min_effect,
        confidence=CONFIDENCE,
        correction="holm",
        power=POWER,
        seed_noise={},
        ceilings={},
        recipe="",
        scale="simulated",
        variants=(),
        runs=(),
        claims=(),
        control=None,
        notes=(),
        stages={},
    )


@dataclass
class Lines:
    """What is printed: a rate or a number, what it should be, and whether it is."""

    section: str = ""

    def title(self, text: str) -> None:
        print(f"\n{text}", flush=True)

    def rate(self, name: str, hits: int, count: int, low: float, high: float) -> None:
        found = binomtest(hits, count).proportion_ci(0.95)
        wanted = f"{100 * low:.0f} to {100 * high:.0f} %" if low else f"at most {100 * high:.0f} %" if high < 1 else ""
        # A limit is missed only when the simulation could tell.
        mark = "" if low <= found.high and found.low <= high else "  <-- missed"
        share = 100 * hits / count
        print(
            f"  {name:78} {share:5.1f} % ±{50 * (found.high - found.low):.1f} of {count:5}  {wanted}{mark}", flush=True
        )

    def note(self, name: str, text: str) -> None:
        print(f"  {name:78} {text}", flush=True)


@dataclass(frozen=True)
class Drawn:
    """One simulated sweep: the runs of each variant, and where its truths are found."""

    runs: tuple[Runs, ...]
    sweeps: Sweeps
    number: int

    def expected(self, key: str, first: int = 1, second: int = 0) -> float:
        """The true difference over training runs on these questions."""
        found = self.sweeps.expected[key][self.number]
        return float(found[first] - found[second])

    def population(self, key: str) -> float:
        """The true difference of the trained models of the first seed on all questions."""
        found = self.sweeps.population[key][self.number]
        return float(found[1, 0] - found[0, 0])


class Calibration:
    def __init__(self, world: World, seed: int, count: int) -> None:
        self.world, self.count, self.lines = world, count, Lines()
        self.generator = np.random.Generator(np.random.SFC64(seed))
        self.sweep = saved_sweep(tuple(world.benchmarks))

    def draw(self, scenario: Scenario, seeds: Sequence[Sequence[int]] = (), count: int = 0) -> Iterator[Drawn]:
        """Sweeps one by one; ``seeds`` are those that each variant has (all, if not said)."""
        for begin in range(0, count or self.count, CHUNK):
            drawn = self.world.draw(self.generator, min(CHUNK, (count or self.count) - begin), scenario)
            for number in range(min(CHUNK, (count or self.count) - begin)):
                runs = []
                for variant in range(scenario.variants):
                    having = seeds[variant] if seeds else range(scenario.seeds)
                    runs.append(Runs(self._run(drawn, number, variant, seed) for seed in having))
                yield Drawn(tuple(runs), drawn, number)

    def _run(self, drawn: Sweeps, number: int, variant: int, seed: int) -> Run:
        scores = {
            task: TaskScores(METRICS[task], self.world.questions[task], points[number, variant, seed], {})
            for task, points in drawn.points.items()
        }
        return Run(RunEntry(str(variant), seed, (), (), {}), "complete", "", scores)

    def compare(self, drawn: Drawn, key: str, variant: int = 1, sweep: SavedSweep | None = None) -> Difference:
        return difference(sweep or self.sweep, key, [(1.0, drawn.runs[variant]), (-1.0, drawn.runs[0])])

    def is_different(self, found: Difference, adjusted: float | None = None) -> bool:
        return judged(self.sweep, found, None, adjusted).verdict in DIFFERENT

    # Several seeds.

    def seeds(self) -> None:
        self.lines.title("Two variants, several seeds; the estimand is the expected difference on these questions")
        few = self.count // 5
        for seeds in (2, 3, 5):
            hits, boots, resampled = Counter[str](), 0, 0
            bootstrap = Bootstrap(self.world)
            for drawn in self.draw(Scenario(seeds=seeds)):
                for key in SCORES:
                    hits[key] += self.is_different(self.compare(drawn, key))
                if resampled < few:
                    low, high = bootstrap.interval(drawn)
                    boots, resampled = boots + (not low <= 0.0 <= high), resampled + 1
            for key in SCORES:
                self.lines.rate(f"A/A, {seeds} seeds, {key}: different", hits[key], self.count, 0.04, 0.06)
            name = f"A/A, {seeds} seeds, mean: different by a two-level bootstrap"
            self.lines.rate(name, boots, few, 0.0, 1.0)
        for seeds in (2, 3, 5):
            covered = Counter[str]()
            for drawn in self.draw(Scenario(seeds=seeds, effects=(0.0, 0.2), own=0.2)):
                for key in SCORES:
                    covered[key] += _holds(self.compare(drawn, key).interval, drawn.expected(key))
            for key in SCORES:
                name = f"A/B, {seeds} seeds, {key}: interval covers the truth"
                self.lines.rate(name, covered[key], self.count, 0.94, 0.96)

    # Families.

    def families(self) -> None:
        self.lines.title("Families: variants against one baseline, none differs; any called different (mean)")
        for others, seeds in ((4, 2), (4, 3), (4, 5), (12, 2), (12, 3), (12, 5)):
            self._family(f"{others} variants, {seeds} seeds", Scenario(variants=others + 1, seeds=seeds))
        self.lines.title("Families where the assumptions of max-T do not hold, or where one variant does differ")
        noise = (1.0, 3.0, 1.0, 1.0, 1.0)
        self._family("4 variants, 3 seeds, one three times as noisy", Scenario(5, 3, noise=noise))
        noise = (3.0, 1.0, 1.0, 1.0, 1.0)
        self._family("4 variants, 3 seeds, the baseline three times as noisy", Scenario(5, 3, noise=noise))
        effects = (0.0, 1.0, 0.0, 0.0, 0.0)
        self._family("4 variants, 3 seeds, one far better, the others", Scenario(5, 3, effects=effects), first=2)

    def _family(self, name: str, scenario: Scenario, first: int = 1) -> None:
        wrong = Counter[str]()
        for drawn in self.draw(scenario):
            found = [self.compare(drawn, "mean", variant) for variant in range(1, scenario.variants)]
            for correction in ("none", "holm", "max-t"):
                adjusted = correct(found, correction)
                pairs = list(zip(found, adjusted, strict=True))[first - 1 :]
                wrong[correction] += any(self.is_different(each, p) for each, p in pairs)
        self.lines.rate(f"{name}: uncorrected", wrong["none"], self.count, 0.0, 1.0)
        self.lines.rate(f"{name}: Holm", wrong["holm"], self.count, 0.0, 0.05)
        self.lines.rate(f"{name}: max-T", wrong["max-t"], self.count, 0.0, 0.06)

    # One seed.

    def one_seed(self) -> None:
        self.lines.title("One seed; the estimand is the difference of these two trained models on all questions")
        settings = {
            "as measured": Scenario(effects=(0.0, 0.1), own=0.2),
            "sets share 5 % of an answer": Scenario(effects=(0.0, 0.1), own=0.2, sets=0.05),
        }
        for name, scenario in settings.items():
            covered = Counter[str]()
            for drawn in self.draw(scenario):
                for key in SCORES:
                    covered[key] += _holds(self.compare(drawn, key).interval, drawn.population(key))
            for key in SCORES:
                self.lines.rate(f"{name}, {key}: interval covers the truth", covered[key], self.count, 0.94, 0.96)
        hits = Counter[str]()
        for drawn in self.draw(Scenario(noise=(0.0, 0.0))):
            for key in SCORES:
                hits[key] += self.is_different(self.compare(drawn, key))
        for key in SCORES:
            self.lines.rate(
                f"models that are equal on all questions, {key}: different", hits[key], self.count, 0.04, 0.06
            )

        self.lines.title("One seed, as a statement on the design: A/A over new training seeds")
        noise = {key: self.noise(key, 0.0) for key in SCORES}
        for name, scenario in {"": Scenario(), ", half of it due to the seed": Scenario(seed_share=0.5)}.items():
            bare, floored = Counter[str](), Counter[str]()
            for drawn in self.draw(scenario):
                # A scale's noise was measured once, with so many degrees of freedom: here anew for each sweep.
                factor = sqrt(self.generator.chisquare(DEGREES) / DEGREES)
                known = {key: Noise(deviation * factor, DEGREES) for key, deviation in noise.items()}
                with_noise = replace(self.sweep, seed_noise=known)
                for key in SCORES:
                    bare[key] += self.is_different(self.compare(drawn, key))
                    floored[key] += self.is_different(self.compare(drawn, key, sweep=with_noise))
            for key in SCORES:
                self.lines.rate(f"without floor{name}, {key}: different", bare[key], self.count, 0.0, 1.0)
                self.lines.rate(
                    f"with the scale's seed noise{name}, {key}: different", floored[key], self.count, 0.0, 0.06
                )

    def noise(self, key: str, seed_share: float) -> float:
        """The true deviation of one run's score, by a large simulation."""
        drawn = self.world.draw(self.generator, 4000, Scenario(2, 1, seed_share=seed_share))
        tasks = tuple(self.world.benchmarks) if key == "mean" else (key,)
        means = np.mean([drawn.points[task].mean(-1) for task in tasks], axis=0)[:, :, 0]
        return float(np.std(means[:, 1] - means[:, 0]) / sqrt(2))

    # Power.

    def power(self) -> None:
        self.lines.title("Smallest detectable effect of the mean (80 % power); the deviation of a difference is known")
        deviation = self.noise("mean", 0.0) * sqrt(2)
        self.lines.note("deviation of a paired difference from seed to seed", f"{deviation:.2f} points")
        for seeds in (2, 3, 5):
            effect = detectable(deviation, seeds, CONFIDENCE, POWER)
            assert effect is not None
            found = [self.compare(drawn, "mean").interval for drawn in self.draw(Scenario(seeds=seeds))]
            tests = [(each.mean, each.error) for each in found if each is not None and each.error and each.degrees]
            real = float(brentq(lambda x: _power(tests, x, seeds) - POWER, effect / 3, effect * 3, xtol=1e-3))  # noqa: B023
            ratio = f"{effect:5.1f} estimated, {real:5.1f} in truth: {100 * (effect / real - 1):+.1f} %"
            missed = "" if abs(effect / real - 1) <= 0.15 else "  <-- missed"
            self.lines.note(f"{seeds} seeds, the effect added to scores", f"{ratio}   within 15 %{missed}")
            shift = self._shift(effect)
            hits, decided = 0, self.count // 2
            for drawn in self.draw(Scenario(seeds=seeds, effects=(0.0, shift), own=0.2), count=decided):
                hits += judged(self.sweep, self.compare(drawn, "mean"), None).verdict == "better"
            self.lines.rate(f"{seeds} seeds, answers that get better by that effect: found", hits, decided, 0.75, 0.85)
        self.lines.title("Estimates of it from one sweep's own seeds (4 variants and a baseline), against the truth")
        for seeds in (2, 3, 5):
            ratios = []
            for drawn in self.draw(Scenario(variants=5, seeds=seeds), count=self.count // 5):
                means = [[fsum(s.mean for s in run.scores.values()) / 4 for run in runs] for runs in drawn.runs]
                noise = pooled_noise([[a - b for a, b in zip(each, means[0], strict=True)] for each in means[1:]])
                assert noise is not None
                ratios.append(noise.deviation / deviation)
            _scatter(self.lines, f"{seeds} seeds", ratios)
        known = np.sqrt(chi2.ppf([0.1, 0.5, 0.9], DEGREES) / DEGREES)
        _scatter(self.lines, f"noise of the scale, {DEGREES} degrees of freedom", known.tolist())

    def _shift(self, effect: float) -> float:
        """What to add to the normal numbers so that the mean rises by ``effect``."""

        def gain(shift: float) -> float:
            each = [b.expected(shift, 1.0) - b.expected(0.0, 1.0) for b in self.world.benchmarks.values()]
            return float(np.mean(each)) - effect

        return float(brentq(gain, 0.0, 8.0))

    def deciding(self) -> None:
        self.lines.title("Seeds to decide, the effect and the noise being known: how often that many decide (mean)")
        deviation = self.noise("mean", 0.0) * sqrt(2)
        count = self.count // 5
        for effect in (1.0, 1.5, 2.5):
            seeds = seeds_to_detect(effect * deviation, deviation, CONFIDENCE, POWER)
            assert seeds is not None
            found = [self.compare(drawn, "mean").interval for drawn in self.draw(Scenario(seeds=seeds), count=count)]
            tests = [(each.mean, each.error) for each in found if each is not None and each.error]
            hits = round(_power(tests, effect * deviation, seeds) * len(tests))
            self.lines.rate(f"an effect of {effect:g} deviations: {seeds} seeds find it", hits, len(tests), 0.77, 0.97)
        for bound in (1.5, 2.0, 3.0):
            seeds = seeds_to_equate(0.0, bound * deviation, deviation, CONFIDENCE, POWER)
            assert seeds is not None
            equal = at_bound = 0
            for drawn in self.draw(Scenario(seeds=seeds), count=count):
                found = self.compare(drawn, "mean").interval
                assert found is not None
                equal += judge(found, found.p, bound * deviation, CONFIDENCE) == "equivalent"
                moved = _moved(found, bound * deviation)
                at_bound += judge(moved, moved.p, bound * deviation, CONFIDENCE) == "equivalent"
            name = f"no effect, a bound of {bound:g} deviations: {seeds} seeds find it equivalent"
            self.lines.rate(name, equal, count, 0.77, 0.99)
            self.lines.rate("  at the bound: equivalent all the same", at_bound, count, 0.0, 0.03)

    # Unequal seeds.

    def unbalanced(self) -> None:
        self.lines.title("Seeds that not both variants have: the mixed model (mean)")
        patterns: dict[str, tuple[Sequence[int], Sequence[int]]] = {
            "3 and 2 of them": ((0, 1, 2), (0, 1)),
            "5 and 3 of them": ((0, 1, 2, 3, 4), (0, 1, 2)),
            "4 and 4, 2 in common": ((0, 1, 2, 3), (2, 3, 4, 5)),
            "3 and 2 others": ((0, 1, 2), (3, 4)),
        }
        for name, having in patterns.items():
            for share in (0.0, 0.7):
                scenario = Scenario(seeds=6, effects=(0.0, 0.2), own=0.2, seed_share=share, noise=(3.0, 3.0))
                covered = sum(
                    _holds(self.compare(drawn, "mean").interval, drawn.expected("mean"))
                    for drawn in self.draw(scenario, having, self.count // 4)
                )
                label = f"{name}, {100 * share:.0f} % of a run's noise due to the seed: covers"
                self.lines.rate(label, covered, self.count // 4, 0.94, 0.96)

    # Beyond what was measured.

    def beyond(self) -> None:
        self.lines.title("A/A beyond what was measured, 3 seeds, mean: different")
        settings = {
            "half of a run's noise due to the seed": Scenario(seeds=3, seed_share=0.5),
            "sets share 5 % of an answer": Scenario(seeds=3, sets=0.05),
            "runs three times as noisy": Scenario(seeds=3, noise=(3.0, 3.0)),
            "runs three times as noisy, 2 seeds": Scenario(seeds=2, noise=(3.0, 3.0)),
            "one variant three times as noisy": Scenario(seeds=3, noise=(1.0, 3.0)),
            "runs that do not differ but by questions": Scenario(seeds=3, noise=(0.0, 0.0)),
        }
        for name, scenario in settings.items():
            hits = sum(self.is_different(self.compare(drawn, "mean")) for drawn in self.draw(scenario))
            self.lines.rate(name, hits, self.count, 0.04, 0.06)
        few = self.count // 5
        for seeds in (2, 3, 5):
            bootstrap, hits = Bootstrap(self.world), 0
            for drawn in self.draw(Scenario(seeds=seeds, noise=(3.0, 3.0)), count=few):
                low, high = bootstrap.interval(drawn)
                hits += not low <= 0.0 <= high
            name = f"runs three times as noisy, {seeds} seeds, by a two-level bootstrap"
            self.lines.rate(name, hits, few, 0.0, 1.0)


class Bootstrap:
    """The percentile interval of two levels: seeds are drawn, then images (the same for all seeds)."""

    DRAWS = 1000

    def __init__(self, world: World) -> None:
        self.generator = np.random.Generator(np.random.PCG64(7))
        names = [image for asked in world.questions.values() for image in asked.images]
        self.codes = np.unique(names, return_inverse=True)[1]
        self.images = int(self.codes.max()) + 1
        self.tasks = tuple(world.questions)
        draws = self.generator.multinomial(self.images, np.full(self.images, 1 / self.images), self.DRAWS)
        self.counts = draws.astype(np.float64)

    def interval(self, drawn: Drawn) -> tuple[float, float]:
        points, number = drawn.sweeps.points, drawn.number
        apart = [(points[task][number, 1] - points[task][number, 0]) / points[task].shape[-1] for task in self.tasks]
        parts = np.concatenate(apart, axis=1) / len(self.tasks)
        seeds = len(parts)
        sums = np.stack([np.bincount(self.codes, row, self.images) for row in parts], axis=1)
        by_seed = self.counts @ sums
        chosen = self.generator.integers(0, seeds, (self.DRAWS, seeds))
        means = np.take_along_axis(by_seed, chosen, 1).mean(1)
        low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        return float(low), float(high)


def _holds(interval: Interval | None, truth: float) -> bool:
    return (
        interval is not None
        and interval.low is not None
        and interval.high is not None
        and (interval.low <= truth <= interval.high)
    )


def _moved(interval: Interval, by: float) -> Interval:
    assert interval.low is not None
    assert interval.high is not None
    return replace(interval, mean=interval.mean + by, low=interval.low + by, high=interval.high + by)


def _power(tests: Sequence[tuple[float, float]], effect: float, seeds: int) -> float:
    """How often an effect added to the scores is found, with the right sign."""
    critical = t_quantile(0.5 + CONFIDENCE / 2, seeds - 1)
    assert abs(t_probability(critical, seeds - 1) - (1 - CONFIDENCE)) < 1e-9
    return sum((middle + effect) / error > critical for middle, error in tests) / len(tests)


def _scatter(lines: Lines, name: str, ratios: Sequence[float]) -> None:
    low, middle, high = np.quantile(ratios, [0.1, 0.5, 0.9])
    lines.note(name, f"median {middle:.2f} of the truth, 80 % of sweeps {low:.2f} to {high:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = Path(__file__).parent
    parser.add_argument("--sweeps", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--components", type=Path, default=here / "components.json")
    sections = ("seeds", "families", "one_seed", "power", "deciding", "unbalanced", "beyond")
    parser.add_argument("--only", nargs="*", choices=sections, default=sections)
    arguments = parser.parse_args()
    world = simulated_scores.load(arguments.components)
    print(f"{arguments.sweeps} sweeps a line, seed {arguments.seed}; rates with 95 % intervals")
    for place, name in enumerate(sections):
        if name in arguments.only:
            began = time.process_time()
            run: Callable[[], Any] = getattr(Calibration(world, arguments.seed + 1000 * place, arguments.sweeps), name)
            run()
            print(f"  ({name}: {time.process_time() - began:.0f} core-seconds)", flush=True)


if __name__ == "__main__":
    main()
