from __future__ import annotations

import torch

from harness.models.seeding import generator, name_seed, seeded


def test_seeds_depend_on_seed_and_name() -> None:
    seeds = {name_seed(seed, name) for seed in (0, 1, 10, 100) for name in ("a", "b", "0/a", "a.b")}
    assert len(seeds) == 16
    # Part of what identifies a run: another derivation would change every trained model.
    assert name_seed(3, "connector.latents") == 1_534_005_265_273_934_417


def test_the_block_is_seeded_and_the_global_state_is_restored() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with seeded(4, "language"):
        inside = torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(inside, torch.rand(3, generator=generator(4, "language")))
