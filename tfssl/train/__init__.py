"""The one loop, its state on disk, and the step it repeats."""

from tfssl.train.checkpoint_store import CheckpointStore
from tfssl.train.device_views import make_device_views
from tfssl.train.loop import Action, train
from tfssl.train.photometric import drawn_photometry, make_photometry
from tfssl.train.run_directory import RunDirectory
from tfssl.train.state import RunState
from tfssl.train.step import make_run_steps
from tfssl.train.step_profile import profile_steps
from tfssl.train.stop import StopRequest

__all__ = [
    "Action",
    "CheckpointStore",
    "RunDirectory",
    "RunState",
    "StopRequest",
    "drawn_photometry",
    "make_device_views",
    "make_photometry",
    "make_run_steps",
    "profile_steps",
    "train",
]
