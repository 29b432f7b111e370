"""What a plan could show, before anything is spent on it."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

from harness.analysis.statistics.power import Noise, detectable, seeds_to_detect
from harness.analysis.tables.price import hour
from harness.spec import Sweep


@dataclass(frozen=True)
class Expected:
    """On the primary score: the smallest difference by seeds, and for a core-hour; a run costs ``run_seconds``."""

    sweep: Sweep
    run_seconds: float

    @property
    def noise(self) -> Noise | None:
        """Of a paired difference from seed to seed, as it is known of the scale."""
        known = self.sweep.analysis.seed_noise
        deviation = getattr(known, self.sweep.analysis.primary, None)
        return Noise(deviation * sqrt(2), known.degrees) if known is not None and deviation is not None else None

    def detectable(self, seeds: int) -> float | None:
        """The smallest true difference that is found with the declared power; ``None`` below two seeds."""
        analysis, noise = self.sweep.analysis, self.noise
        return detectable(noise.deviation, seeds, analysis.confidence, analysis.power) if noise else None

    def seeds_needed(self) -> int | None:
        """The fewest seeds that find a difference of ``min_effect``."""
        analysis, noise = self.sweep.analysis, self.noise
        if noise is None or analysis.min_effect == 0:
            return None
        return seeds_to_detect(analysis.min_effect, noise.deviation, analysis.confidence, analysis.power)

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        seeds, effect = hour(self.run_seconds, self.noise, self.sweep.analysis.confidence, self.sweep.analysis.power)
        return {
            "noise": self.noise.deviation if self.noise else None,
            "detectable": {str(n): self.detectable(n) for n in sorted({2, 3, 5, 10, len(self.sweep.seeds)} - {1})},
            "seeds_for_min_effect": self.seeds_needed(),
            "core_seconds_per_run": round(self.run_seconds, 3),
            "core_hour": {"seeds": seeds, "detectable": effect},
        }

    def lines(self) -> list[str]:
        """For people."""
        analysis, planned = self.sweep.analysis, len(self.sweep.seeds)
        if self.noise is None:
            return [
                f"What this can show is not known: the seed noise of {analysis.primary} at the scale {self.sweep.scale}"
                " is not (analysis.seed_noise, measured by ablations/aa.yaml)"
            ]
        effect = self.detectable(planned)
        if effect is None:
            shown = "One seed shows what these trained models do, not what another training would"
            effect = self.detectable(3)
            first = f"{shown}; three seeds would find differences of {analysis.primary} from {effect:.1f} points on"
        else:
            first = f"Finds differences of {analysis.primary} from {effect:.1f} points on ({100 * analysis.power:g} %)"
        needed = self.seeds_needed()
        if needed is not None:
            first += f"; {needed} seeds would find {analysis.min_effect:g}, the smallest that matters"
        seeds, hourly = hour(self.run_seconds, self.noise, analysis.confidence, analysis.power)
        if hourly is None:
            return [first]
        return [first, f"One core-hour pays {seeds} seeds of two variants and finds {hourly:.1f} points"]
