"""Puts this clone's `tfssl` on the path: imported by every tool, before `tfssl`.

So `python tools/NAME.py` runs from any folder, with the package installed or not, and
so do the processes that it starts.
"""

import os
import sys
from pathlib import Path

CLONE = str(Path(__file__).parents[1])
sys.path.insert(0, CLONE)
os.environ["PYTHONPATH"] = os.pathsep.join(
    [CLONE, *filter(None, [os.environ.get("PYTHONPATH")])]
)
