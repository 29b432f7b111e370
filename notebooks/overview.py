# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A sweep at a glance
#
# Table, figure and a few predictions of one sweep. `SWEEP` is the name of a sweep that was run, or a sweep file;
# everything below follows from it. `harness notebook NAME` renders this page for any sweep.

# %% tags=["parameters"]
SWEEP = "token_pooling"
RESULTS = "../results"

# %%
from pathlib import Path

from IPython.display import HTML, Image, Markdown

from harness.analysis import make_table
from harness.report.figures import image, score_against_tokens
from harness.report.predictions import read_predictions, to_html
from harness.report.sources import open_sweep
from harness.report.table import markdown

sweep, store = open_sweep(SWEEP, results=Path(RESULTS))
table = make_table(sweep, store)

# %% [markdown]
# ## Table
#
# One row a variant. Where there is one training seed, the intervals come from the samples and say nothing about another
# training run; with several, they are t intervals over the seeds' means.

# %%
Markdown(markdown(table))

# %% [markdown]
# ## Scores against visual tokens

# %%
Image(image(score_against_tokens(table), "png", dpi=80))

# %% [markdown]
# ## Predictions
#
# Two samples of every benchmark, chosen by a hash of their ids and not by how well they were answered.

# %%
HTML(to_html(read_predictions(table, store, per_task=2)))
