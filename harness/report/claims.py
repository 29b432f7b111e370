"""Claims as pages: one block a claim, or a summary of all sweeps; in the terminal and in Markdown the same words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.analysis.claims.agreement import CHANCE, Agreement, Conflict, Summary
from harness.analysis.claims.efficiency import Ratio
from harness.analysis.claims.held import NEARLY, Held
from harness.analysis.claims.judgements import FAR, Part
from harness.analysis.claims.results import ClaimResult
from harness.analysis.statistics.power import MOST_SEEDS
from harness.analysis.stored.sweeps import ContrastEntry
from harness.analysis.tables.contrasts import Pair
from harness.report import cells
from harness.report.markup import escaped, plain
from harness.report.quantities import count, quantity
from harness.spec import published

if TYPE_CHECKING:
    from rich.console import RenderableType

WIDTH = 100
"""Columns of a page in the terminal."""

TOO_FEW = "not decidable with so few seeds"
"""What :attr:`Judgement.is_undecidable` is called."""

_NOT_HERE = "not in the papers' table, or the table is not here: it comes with a checkout, not with the package"


@dataclass(frozen=True)
class Block:
    """A heading and lines, each under a label; lines that follow under the same label have none."""

    title: str
    lines: tuple[tuple[str, str], ...]


def claim_blocks(results: Sequence[ClaimResult]) -> list[Block]:
    """One block a claim: what the paper says and found, what we measured, the verdict, what was held equal."""
    return [_block(result) for result in results]


def summary_blocks(summary: Summary) -> list[Block]:
    """Counts and sign agreement, the claims by sweep, and where the literature disagrees with itself."""
    tested = summary.tested
    decided = summary.count("replicated") + summary.count("contradicted")
    undecidable = sum(each.judgement.is_undecidable for _, each in tested)
    conditional = sum(each.is_conditional and each.judgement.verdict != "undecided" for _, each in tested)
    waiting = sum(len(found) for found in summary.results.values()) - len(tested)
    lines = [
        (
            "tested",
            f"{count(len(tested), 'claim')} ({summary.distinct} different) in {count(len(summary.results), 'sweep')}",
        ),
        (
            "decided",
            f"{decided}: {summary.count('replicated')} replicated, {summary.count('contradicted')} contradicted",
        ),
        (
            "undecided",
            f"{summary.count('undecided')}" + (f", {undecidable} of them {TOO_FEW}" if undecidable else ""),
        ),
    ]
    if conditional:
        lines.append(("conditional", f"{conditional} of the decided rest on one trained model each"))
    if waiting:
        lines.append(("not measured", f"{count(waiting, 'claim')}: the runs are not there yet"))
    lines.append(("signs", f"decided: {_agreement(summary.decided)}"))
    lines.append(("", f"all estimates, decided or not: {_agreement(summary.measured)}"))
    blocks = [Block("Claims of the literature, all sweeps", tuple(lines))]
    for sweep, results in summary.results.items():
        if results:
            blocks.append(Block(sweep, tuple((each.claim.id, _one_line(each)) for each in results)))
    if summary.conflicts:
        blocks.append(
            Block("Where the literature disagrees with itself", tuple(_conflict(c) for c in summary.conflicts))
        )
    if summary.unread:
        blocks.append(Block("Not read", tuple(summary.unread.items())))
    return blocks


def markdown(title: str, blocks: Sequence[Block]) -> str:
    """The blocks in GitHub's Markdown."""
    parts = [f"# {escaped(title)}", ""]
    for block in blocks:
        parts += [f"## {escaped(block.title)}", ""]
        label = ""
        for name, text in block.lines:
            label = name or label
            parts.append(f"- {escaped(label)}: {escaped(text)}" if name else f"  - {escaped(text)}")
        parts.append("")
    return "\n".join(parts[:-1]) + "\n"


def render(blocks: Sequence[Block]) -> RenderableType:
    """The blocks for the terminal, at most ``WIDTH`` columns wide."""
    from rich.console import Group
    from rich.constrain import Constrain
    from rich.table import Table as Grid
    from rich.text import Text

    parts: list[RenderableType] = []
    for number, block in enumerate(blocks):
        grid = Grid.grid(padding=(0, 2, 0, 0))
        grid.add_column(min_width=12, max_width=18, overflow="fold")
        grid.add_column(overflow="fold")
        for label, text in block.lines:
            grid.add_row(Text(f"  {plain(label)}", style="dim"), Text(plain(text)))
        parts += [Text("")] * bool(number) + [Text(plain(block.title), style="bold"), grid]
    return Constrain(Group(*parts), WIDTH)


def claim_lines(results: Sequence[ClaimResult]) -> list[str]:
    """For a table: one line a claim with its verdict, and one for each pair where there are several."""
    lines = []
    for result in results:
        what = (
            f"{result.claim.id}{_papers(result.published)}: {contrast_words(result.claim.contrast, _between(result))}"
        )
        expected = f"{what}, expected {result.claim.expect}"
        lines.append(f"{expected}, measured {measured(result)}: {_verdict(result, brief=True)}")
        if len(result.pairs) > 1:
            lines += [f"{expected}, measured {pair_words(pair, True)}" for pair in result.pairs]
    return lines


def contrast_words(contrast: ContrastEntry, between: str = "") -> str:
    """``mean, tokens 4 → 36 at pooling=perceiver``."""
    changes = ", ".join(f"{factor} {' → '.join(levels)}" for factor, levels in contrast.levels.items())
    where = ", ".join(f"{factor}={level}" for factor, level in contrast.where.items())
    score = cells.title(contrast.benchmark) if contrast.benchmark else "training"
    return ", ".join(filter(None, (score, changes, between))) + (f" at {where}" if where else "")


def pair_words(pair: Pair, is_named: bool) -> str:
    """The measured difference, with the two variants where others are shown too."""
    between = f" ({pair.second} − {pair.first})" if is_named else ""
    if pair.difference.interval is None:
        return f"nothing yet ({pair.difference.reason}){between}"
    return cells.long(pair.difference.judged, signed=True) + between


def measured(result: ClaimResult) -> str:
    """What was measured for a claim, in a few words."""
    if result.diverged is not None:
        return f"{result.diverged[0]} of {result.diverged[1]} trainings diverged"
    if result.ratio is not None:
        return _ratio(result.ratio, result.claim.contrast.benchmark)
    if result.main is None or result.main.difference.interval is None:
        return f"nothing yet ({result.main.difference.reason if result.main else result.judgement.reason})"
    return cells.long(result.main.difference.judged, signed=True)


def _block(result: ClaimResult) -> Block:
    claim, judgement = result.claim, result.judgement
    lines: list[tuple[str, str]] = []
    lines += _labelled("paper says", _statements(result.published) or [_NOT_HERE])
    lines += _labelled("paper found", [_finding(row) for row in result.published])
    expected = f"expected {claim.expect}"
    if result.bound is not None:
        expected += f" within ±{result.bound:g} points ({result.bound_source})"
    if claim.cost:
        expected += f" in {_cost(claim.cost)}"
    lines.append(("we tested", f"{contrast_words(claim.contrast, _between(result))}; {expected}"))
    lines.append(("we measured", measured(result) + _units(result)))
    if len(result.parts) > 1 or (result.parts and result.parts[0] is not result.main):
        lines += [("", f"{part.name}: {_part(part)}") for part in result.parts]
    if len(result.pairs) > len(result.parts):
        lines += [("", pair_words(pair, True)) for pair in result.pairs]
    lines += [("", note) for note in result.notes]
    lines.append(("verdict", _verdict(result)))
    lines += _labelled("held equal", _joined(each for each in result.held if each.is_known and each.spread == 0.0))
    nearly = [each for each in result.held if each.is_known and 0.0 < each.spread < NEARLY]
    lines += _labelled("nearly equal", _joined(nearly))
    lines += _labelled("not equal", _joined(each for each in result.held if each.is_known and each.spread >= NEARLY))
    lines += _labelled("their side", result.conditions)
    remarks = [f"remark: {remark}" for remark in result.remarks]
    lines += _labelled("literature", [*remarks, *(_relation(other, how) for other, how in result.related)])
    verdict = TOO_FEW if judgement.is_undecidable else judgement.verdict
    return Block(f"{claim.id}: {verdict}", tuple(lines))


def _labelled(label: str, texts: Iterable[str]) -> list[tuple[str, str]]:
    return [(label if number == 0 else "", text) for number, text in enumerate(texts)]


def _statements(rows: Sequence[published.Row]) -> list[str]:
    return list(
        dict.fromkeys(
            f"{row['paper']} {row['table']} ({row['source']}): {row['factor']}, to be checked as {row['check']}"
            for row in rows
        )
    )


def _finding(row: published.Row) -> str:
    shots = (
        f", {row['shots']}-shot" if row["shots"].isdigit() else f", {row['shots']}" * (row["shots"] not in ("", "-"))
    )
    score = row["metric"] if row["benchmark"] in ("", "-") else f"{row['benchmark']}{shots}, {row['metric']}"
    values = f"{row['value_a']} → {row['value_b']}, " if row["value_a"] and row["value_b"] else ""
    effect = _published_effect(row)
    return f"{row['level_a']} → {row['level_b']} on {score}: {values}{effect}"


def _published_effect(row: published.Row) -> str:
    try:
        return cells.MINUS.join(f"{float(row['effect_b_minus_a']):+g}".split("-"))
    except ValueError:
        return row["effect_b_minus_a"] or row["direction"]


def _relation(other: str, relation: str) -> str:
    words = _published_words(other)
    return f"{relation}: {other}, {words}" if words else f"{relation}: {other}"


def _published_words(claim: str) -> str:
    rows = published.published_claims(published.FOLDER).get(claim, ())
    if not rows:
        return ""
    first = rows[0]
    effects = list(dict.fromkeys(_published_effect(row) for row in rows))
    shown = ", ".join(effects[:4]) + (", …" if len(effects) > 4 else "")
    levels = f"{first['level_a']} → {first['level_b']}" + (" and others" if len(rows) > 1 else "")
    return f"{first['paper']} {first['table']}, {first['factor']}, {levels}: {shown}"


def _units(result: ClaimResult) -> str:
    """Over how many seeds, and in units of what seeds do by themselves."""
    seeds = result.ratio.seeds if result.ratio else result.main.difference.seeds if result.main else 0
    text = f", {count(seeds, 'seed')}" if seeds else ""
    if result.effect is None or result.deviation is None:
        return text
    unit = "in logarithms " if result.ratio else ""
    times = f"{abs(result.effect):.1f} times its deviation from seed to seed"
    size = f"{result.deviation:.2g}" if result.ratio else cells.points(result.deviation)
    return f"{text}; {unit}{times} ({size}, from {result.noise})"


def _part(part: Part) -> str:
    if part.difference.interval is None:
        return f"nothing yet ({part.difference.reason})"
    return cells.long(part.difference.judged, signed=True)


def _verdict(result: ClaimResult, brief: bool = False) -> str:
    judgement = result.judgement
    text = judgement.verdict if brief else f"{judgement.verdict}: {judgement.reason}"
    if judgement.is_undecidable:
        text += f"; {TOO_FEW}"
        if not brief and judgement.seeds_to_decide is not None:
            text += f": it would take {judgement.seeds_to_decide} seeds, more than {FAR} times those that were run"
        elif not brief:
            text += f": not even {MOST_SEEDS} seeds would decide if the effect stays what it is"
    elif judgement.verdict == "undecided" and judgement.seeds_to_decide is not None:
        unit = "trainings" if result.diverged is not None else "seeds"
        text += f"; {judgement.seeds_to_decide} {unit} would decide"
        text += "" if brief else " if the effect stays what it is"
    if result.is_conditional and result.is_tested:
        text += " (conditional on the trained models)" if brief else "; conditional on the trained models"
        if not brief:
            floors = [part.difference.floor for part in result.parts]
            known = all(floor is not None for floor in floors)
            text += ", allowing for the known seed noise" if known else ": the seed noise is not known"
    return text


def _ratio(found: Ratio, benchmark: str) -> str:
    if found.interval is None:
        return f"nothing yet ({found.reason})"
    bounds = ""
    if found.interval.low is not None and found.interval.high is not None:
        bounds = f" [{found.interval.low:.2f}, {found.interval.high:.2f}]"
    at_least = "at least " if found.reached < found.pairs else ""
    times = f"{at_least}{found.interval.mean:.2f}{bounds} times the {_cost(found.cost)}"
    goal = f"best score on {cells.title(benchmark)}" if benchmark else "final loss"
    return f"{times} to the first one's {goal}, {found.reached} of {found.pairs} trainings got there"


def _cost(cost: str) -> str:
    kind, aligned, _ = cost.partition("_after_alignment")
    name = {"flops": "FLOPs", "text_tokens": "text tokens"}.get(kind, kind)
    return f"{name} after the adapter's alignment" if aligned else name


def _between(result: ClaimResult) -> str:
    changes = ", ".join(f"{factor} {' → '.join(levels)}" for factor, levels in result.claim.between.items())
    return f"between {changes}" if changes else ""


def _joined(found: Iterable[Held]) -> list[str]:
    texts = [_held(each) for each in found]
    return ["; ".join(texts)] if texts else []


def _held(each: Held) -> str:
    texts = []
    for group in dict.fromkeys(each.values):
        values = list(dict.fromkeys(group)) if len(set(group)) == 1 else list(group)
        times = f" (× {values[1] / values[0]:.3g})" if len(values) == 2 and values[0] and values[1] else ""
        between = " → " if len(values) == 2 else " / "
        texts.append(between.join(_number(value) for value in values) + times * (each.spread >= NEARLY))
    return f"{each.quantity} {' | '.join(dict.fromkeys(texts))}"


def _number(value: float | None) -> str:
    if value is None:
        return cells.NOTHING
    return f"{value:,.0f}" if value < 100_000 else quantity(value, 4)


def _papers(rows: Sequence[published.Row]) -> str:
    papers = dict.fromkeys(f"{row['paper']} {row['table']}".strip() for row in rows)
    return f" ({', '.join(papers)})" if papers else ""


def _agreement(found: Agreement) -> str:
    if found.interval is None:
        return "no sign claim yet"
    low, high = (f"{100 * end:.0f} %" for end in found.interval)
    beyond = "compatible with chance (50 %)"
    if found.is_beyond_chance:
        beyond = "more than chance (50 %)" if found.interval[0] > CHANCE else "less than chance (50 %)"
    share = f"{100 * found.agree / found.count:.0f} %"
    return f"{found.agree} of {found.count} agree with the literature, {share} [{low}, {high}]: {beyond}"


def _one_line(result: ClaimResult) -> str:
    words = contrast_words(result.claim.contrast, _between(result))
    return f"{words}, expected {result.claim.expect}, measured {measured(result)}: {_verdict(result, brief=True)}"


def _conflict(conflict: Conflict) -> tuple[str, str]:
    def ours(claim: str) -> str:
        found = conflict.verdicts.get(claim, ())
        return ", ".join(f"{verdict} in {sweep}" for sweep, verdict in found) or "not tested"

    against = ", ".join(filter(None, (conflict.second, _published_words(conflict.second))))
    return conflict.first, f"{ours(conflict.first)}; against {against} ({ours(conflict.second)}); {conflict.remark}"
