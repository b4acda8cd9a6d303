"""The one loop, the one driver around it, and the step that it repeats."""

from tfssl.train.job import Job
from tfssl.train.loop import Action, train
from tfssl.train.profile_step import profile_steps
from tfssl.train.recorder import NullRecorder, Recorder, Settings
from tfssl.train.state import RunState
from tfssl.train.step import make_run_steps
from tfssl.train.stop import StopRequest
from tfssl.train.views import drawn_photometry, make_device_views, make_photometry

__all__ = [
    "Action",
    "Job",
    "NullRecorder",
    "Recorder",
    "RunState",
    "Settings",
    "StopRequest",
    "drawn_photometry",
    "make_device_views",
    "make_photometry",
    "make_run_steps",
    "profile_steps",
    "train",
]
