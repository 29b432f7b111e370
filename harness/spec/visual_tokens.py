"""How many visual tokens a connector can make of a grid of patches: one rule for the checks and for the model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from math import isqrt

from harness.errors import HarnessError
from harness.spec.finding import Finding

_KEY = ("connector", "num_tokens")
_GRID = (("connector", "kind"), ("image", "size"), ("vision", "backbone"))
"""Other keys that decide on the grid and on what is made of it."""


class TokenRule(ABC):
    """Which numbers of tokens a kind of connector can make."""

    reads_num_tokens = True
    of_the_grid = False
    """Whether tokens come of neighbours in the grid of patches, so that there must be one."""

    @abstractmethod
    def count(self, kind: str, num_tokens: int, grid: tuple[int, int]) -> int:
        """Visual tokens of an image on ``grid`` (h, w); raises HarnessError where there can be none."""

    def findings(self, kind: str, num_tokens: int, grid: int | None) -> Iterator[Finding]:
        """What is wrong with ``num_tokens`` in the section ``model``; ``grid``: patches a side, None if unknown."""
        yield from ()


class OneAPatch(TokenRule):
    """As many tokens as patches."""

    reads_num_tokens = False

    def count(self, kind: str, num_tokens: int, grid: tuple[int, int]) -> int:
        """h · w."""
        return grid[0] * grid[1]


class AnyNumber(TokenRule):
    """Whatever is asked for: learned queries, or latents."""

    def count(self, kind: str, num_tokens: int, grid: tuple[int, int]) -> int:
        """``num_tokens``, at least 1."""
        if num_tokens < 1:
            raise HarnessError(f"connector.num_tokens is {num_tokens}", remedy="use at least 1")
        return num_tokens


class Square(AnyNumber):
    """A smaller grid of √M × √M; with ``even`` the spec asks for windows of equal size."""

    of_the_grid = True

    def __init__(self, even: bool) -> None:
        self.even = even

    def count(self, kind: str, num_tokens: int, grid: tuple[int, int]) -> int:
        """``num_tokens``, a square number that the grid has room for."""
        side = isqrt(super().count(kind, num_tokens, grid))
        if side * side != num_tokens or side > min(grid):
            raise HarnessError(
                f"{kind} cannot make {num_tokens} tokens of a {grid[0]}×{grid[1]} grid",
                remedy=f"use a square number of at most {min(grid) ** 2} for connector.num_tokens",
            )
        return num_tokens

    def findings(self, kind: str, num_tokens: int, grid: int | None) -> Iterator[Finding]:
        """A number that is no square, or whose windows do not fit the grid."""
        side = isqrt(num_tokens)
        sides = [n for n in range(1, (grid or 16) + 1) if grid is None or not self.even or grid % n == 0]
        remedy = f"take one of {', '.join(str(n * n) for n in sides)}{'' if grid else ', …'}"
        if side * side != num_tokens:
            message = f"{kind} makes a square of tokens, {num_tokens} is not a square number"
            yield Finding(_KEY, message, remedy, (("connector", "kind"),))
        elif grid is not None and side not in sides:
            how = "pooled evenly" if self.even else "pooled"
            yield Finding(_KEY, f"a grid of {grid}×{grid} patches cannot be {how} to {side}×{side}", remedy, _GRID)


class Neighbourhoods(TokenRule):
    """The s × s neighbourhoods that the grid can be cut into, for a whole s."""

    of_the_grid = True

    def count(self, kind: str, num_tokens: int, grid: tuple[int, int]) -> int:
        """``num_tokens``, if there is such an s."""
        self.side(kind, num_tokens, grid)
        return num_tokens

    def side(self, kind: str, num_tokens: int, grid: tuple[int, int]) -> int:
        """Patches a side of the neighbourhoods."""
        height, width = grid
        sides = [side for side in range(1, min(grid) + 1) if height % side == 0 and width % side == 0]
        for side in sides:
            if height * width == num_tokens * side * side:
                return side
        raise HarnessError(
            f"{kind} cannot make {num_tokens} tokens of a {height}×{width} grid",
            remedy=f"use {' or '.join(str(height * width // side**2) for side in sides)} for connector.num_tokens",
        )

    def findings(self, kind: str, num_tokens: int, grid: int | None) -> Iterator[Finding]:
        """A number of tokens that no s makes."""
        fitting = [] if grid is None else [(grid // side) ** 2 for side in range(grid, 0, -1) if grid % side == 0]
        if fitting and num_tokens not in fitting:
            message = f"a grid of {grid}×{grid} patches has no neighbourhoods that make {num_tokens} tokens"
            yield Finding(_KEY, message, f"take one of {', '.join(map(str, fitting))}", _GRID)


ONE_A_PATCH, ANY_NUMBER, NEIGHBOURHOODS = OneAPatch(), AnyNumber(), Neighbourhoods()
SQUARE, EVEN_SQUARE = Square(even=False), Square(even=True)
