"""Bringing models of the hub into the local cache. The only code that uses a network."""

from __future__ import annotations

from harness.errors import HarnessError
from harness.plan.weights import LOADED, Backbone, Backbones

_TWICE = ["consolidated*.safetensors", "original/*", "onnx/*", "openvino/*"]
"""What repositories hold beside the weights in Hugging Face format: the same ones in other forms."""


def fetch_model(name: str) -> Backbone:
    """The model as the hub has it now: configs, tokenizer, safetensors. Files that are here already are not fetched.

    Raises ``HarnessError`` when the hub does not give it, or gives something that cannot be used.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    try:
        snapshot_download(name, allow_patterns=[f"*{suffix}" for suffix in sorted(LOADED)], ignore_patterns=_TWICE)
    except GatedRepoError as error:
        raise HarnessError(
            f"the model {name} is gated, and you have not been given it",
            f"Accept its terms at huggingface.co/{name}, then `hf auth login` with a token of yours.",
        ) from error
    except RepositoryNotFoundError as error:
        raise HarnessError(
            f"the hub has no model {name}, or hides it",
            "Check the name; for a private one, `hf auth login` with a token that may read it.",
        ) from error
    except (HfHubHTTPError, OSError) as error:  # offline, unreachable, cut off, no room
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise HarnessError(
            f"the model {name} could not be fetched: {reason}",
            "Give the command on a machine with a network, a login node say; what has arrived is not fetched again.",
        ) from error
    found = Backbones().resolve(name)
    if not any(found.directory.rglob("*.safetensors")):
        raise HarnessError(f"the model {name} has no safetensors weights", "Take another, or convert it into a folder.")
    return found
