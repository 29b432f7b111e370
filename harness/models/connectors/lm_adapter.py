"""The adapter of PaLM2-VAdapter (Xiao et al. 2024): a pooler and a small causal language model before the large one.

A perceiver of one layer makes ``num_tokens`` vectors of the patches (table 4: better than an attention pooler, which is
``pooler: attention_pool``, and than six layers), the decoder layers of a small language model read them as if they were
embeddings of words, and a linear layer takes its last hidden states to the large model's width. There is no public
implementation. The paper discloses the order pooler → language model, the number of layers and "FC layers around it".
Undisclosed, our choice: the pooler is our ``resampler`` at the small model's width (whose linear layer before the
latents is the first of the two); attention stays causal, as the model was pretrained, over the tokens of one image,
which are a document of their own; hidden states leave through the model's last norm; its table of embeddings and its
head are left away.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel

from harness.errors import HarnessError
from harness.models.architecture import language_widths
from harness.models.attention import ATTENTION, RowsLayout
from harness.models.backbones.language import LanguageBackbone
from harness.models.backbones.source import load_weights
from harness.models.backbones.vision import VisionFeatures
from harness.models.connectors import build_connector
from harness.models.connectors.base import Connector, GeneratorFor, Widths
from harness.models.connectors.descriptions import pooler_settings
from harness.models.families import LANGUAGE
from harness.models.fast_paths import use_fast_paths
from harness.models.settings import ConnectorSettings


class LMAdapterConnector(Connector):
    """Patches → ``pooler`` → ``body`` (decoder layers and last norm) → ``projection`` to d_l."""

    def __init__(self, settings: ConnectorSettings, widths: Widths, grid: tuple[int, int]) -> None:
        super().__init__(settings, widths, grid)
        if settings.backbone_config is None:
            raise HarnessError(
                "an lm_adapter needs the config of its language model", remedy="set connector.backbone in the spec"
            )
        width, intermediate = language_widths(settings.backbone_config)
        self.pooler = build_connector(pooler_settings(settings), Widths(widths.vision, width, intermediate), grid)
        self.body = _body(settings.backbone_config)
        self.projection = nn.Linear(width, widths.language)
        use_fast_paths(self.body)

    def forward(self, features: VisionFeatures) -> Tensor:
        """[I, P, d_v] → [I, M, d_l]."""
        return self.norm(self.projection(self.read(self.pooler(features))))

    def read(self, embeddings: Tensor) -> Tensor:
        """The small model's last hidden states [I, M, w] on embeddings [I, M, w], each image by itself."""
        layout = RowsLayout()
        positions = torch.arange(embeddings.shape[1], device=embeddings.device).expand(len(embeddings), -1)
        states: Tensor = self.body(
            inputs_embeds=embeddings, position_ids=positions, use_cache=False, layout=layout
        ).last_hidden_state
        if layout.calls == 0:
            raise HarnessError(
                f"{type(self.body).__name__} does not use transformers' attention interface",
                remedy=f"use a language model of one of the families {', '.join(LANGUAGE)}",
            )
        return states

    def draw(self, generator_for: GeneratorFor) -> None:
        """Pooler and linear layer by their rules; the body as its family starts a language model."""
        assert self.settings.backbone_config is not None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(generator_for("body").initial_seed())
            self.body.load_state_dict(_body(self.settings.backbone_config).state_dict())
        self.pooler.draw(lambda name: generator_for(f"pooler.{name}"))
        bound = self.projection.in_features**-0.5
        for name, parameter in self.projection.named_parameters():
            nn.init.uniform_(parameter, -bound, bound, generator_for(f"projection.{name}"))

    @torch.no_grad()
    def load_pretrained(self, source: str | Path) -> None:
        """The body's weights from a language model that was trained on text."""
        assert self.settings.backbone_config is not None
        whole = load_weights(AutoModel, source, _config(self.settings.backbone_config))
        self.body.load_state_dict(_without_table(whole).state_dict())

    @torch.no_grad()
    def load_aligned(self, captioner: str | Path) -> None:
        """Pooler and body from a saved captioner: a VLM whose connector and language model they are.

        Raises HarnessError when its weights are not exactly those that are needed.
        """
        from safetensors import safe_open

        whole = _whole(self.settings.backbone_config)
        prefix = f"language.model.{whole.base_model_prefix}."
        tables = [name for name, module in whole.base_model.named_modules() if module is whole.get_input_embeddings()]
        wanted = {f"connector.{name}": value for name, value in self.pooler.state_dict().items()}
        wanted |= {f"{prefix}{name}": value for name, value in self.body.state_dict().items()}
        file = Path(captioner) / "model.safetensors"
        try:
            with safe_open(file, "pt") as stored:
                # What a captioner has beside this: the encoder, the table of embeddings and the head.
                own = {name for name in stored.keys() if name.startswith(("connector.", prefix))}  # noqa: SIM118
                own -= {f"{prefix}{table}.weight" for table in tables}
                wrong = sorted(own ^ set(wanted))
                if wrong:
                    raise _unfit(captioner, f"{len(wrong)} weights differ, e.g. {wrong[0]}")
                for name, value in wanted.items():
                    found = stored.get_tensor(name)
                    if found.shape != value.shape:
                        raise _unfit(captioner, f"{name} is {list(found.shape)}, not {list(value.shape)}")
                    value.copy_(found)
        except OSError as error:
            raise _unfit(captioner, f"{file} cannot be read: {error}") from error


def _config(values: Any) -> PreTrainedConfig:
    values = deepcopy(dict(values))
    config: PreTrainedConfig = AutoConfig.for_model(values.pop("model_type"), **values)
    config.dtype = torch.float32
    return config


def _whole(values: Any) -> PreTrainedModel:
    """The language model with table and head, without numbers."""
    with torch.device("meta"):
        return LanguageBackbone.from_config(_config(values)).model


def _body(values: Any) -> PreTrainedModel:
    return _without_table(AutoModel.from_config(_config(values), attn_implementation=ATTENTION))


def _without_table(model: PreTrainedModel) -> PreTrainedModel:
    model.set_input_embeddings(nn.Identity())  # what the layers read are embeddings already
    return model


def _unfit(captioner: str | Path, why: str) -> HarnessError:
    return HarnessError(
        f"the captioner in {captioner} does not fit the adapter: {why}",
        remedy="align it again with the same connector.backbone, pooler and sizes",
    )
