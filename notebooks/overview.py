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
# Answer, figures, claims and a few predictions of one sweep. `SWEEP` is the name of a sweep that was run, or a sweep
# file; everything below follows from it. `harness notebook NAME` renders this page for any sweep.

# %% tags=["parameters"]
SWEEP = "token_pooling"
RESULTS = "../results/examples"

# %%
from pathlib import Path

from IPython.display import HTML, Image, Markdown, display

from harness.analysis import make_table
from harness.analysis.claims.results import claim_results
from harness.report import claims
from harness.report.figures import image
from harness.report.figures.gallery import FIGURES, fitting
from harness.report.predictions import read_predictions, to_html
from harness.report.sources import open_sweep
from harness.report.table import markdown

sweep, store = open_sweep(SWEEP, results=Path(RESULTS))
table = make_table(sweep, store)

# %% [markdown]
# ## Which one, and how sure?
#
# One row a variant; the answer in words is below the rows, then what they cost and how to read them.

# %%
Markdown(markdown(table))

# %% [markdown]
# ## Figures

# %%
for name in fitting(table, list(FIGURES)):
    display(Image(image(FIGURES[name].draw(table, store), "png", dpi=64)))

# %% [markdown]
# ## What the literature says

# %%
Markdown(claims.markdown("Claims", claims.claim_blocks(claim_results(table))))

# %% [markdown]
# ## Predictions
#
# Two samples of every benchmark, chosen by a hash of their ids and not by how well they were answered.

# %%
HTML(to_html(read_predictions(table, store, per_task=2)))
