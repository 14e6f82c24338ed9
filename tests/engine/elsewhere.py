"""Imported into a worker, this makes it see no more than a system without /proc and without waitid(2) shows."""

import os

from posttrain.engine.worker import processes, shortage

processes.LINUX = False
processes.PROC = processes.PROC / "nowhere"
shortage.STATUS = processes.PROC / "nowhere"
del os.waitid
