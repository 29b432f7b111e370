"""The store: content-addressed stages on disk, written atomically, verified when read, worked on by one at a time."""

from harness.store.atomic import StorageFull, is_storage_full, replace_directory, write_bytes, write_json
from harness.store.attempts import Attempt
from harness.store.lease import Held, LeaseLost, Terms
from harness.store.owner import Owner
from harness.store.record import DamagedStage, Outcome, Output, Record
from harness.store.stage import Stage, is_stage_id
from harness.store.store import Busy, Outputs, SetAside, Store
from harness.store.workspace import Workspace

__all__ = [
    "Attempt",
    "Busy",
    "DamagedStage",
    "Held",
    "LeaseLost",
    "Outcome",
    "Output",
    "Outputs",
    "Owner",
    "Record",
    "SetAside",
    "Stage",
    "StorageFull",
    "Store",
    "Terms",
    "Workspace",
    "is_stage_id",
    "is_storage_full",
    "replace_directory",
    "write_bytes",
    "write_json",
]
