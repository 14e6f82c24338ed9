"""`python -m posttrain.engine.worker FD MODULE...`: imports the modules named, then serves JSON lines on socket FD.

It answers `start` (fork a child for a node) and `signal` (to a child and all below it), and tells each child's events
and end.

What is sure. A node is a process group, and on Linux also a subreaper, as the worker is and the guard above it:
whatever a node's processes start stays below it, in a session of its own or not. When a node ends, whatever is left
of it is killed before its end is told. When the run dies, the worker sees its socket close and kills all nodes; when
the worker dies, the nodes die with it and the guard kills what they started; when the guard dies, the worker ends.

What is not. Where run, guard and worker are killed at one moment, the nodes die, and of what they started nothing
that is not told to die with its parent. Without Linux there are no subreapers: a process that leaves its node's group
*and* whose parent has ended is not found.
"""

import importlib
import signal
import socket
import sys

from posttrain.engine.worker import guard


def main(arguments: list[str]) -> None:
    """Leave a guard behind, import the modules named, then serve."""
    guard.split(int(arguments[0]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for module in arguments[1:]:
        importlib.import_module(module)
    serve = importlib.import_module("posttrain.engine.worker.serve")
    serve.Worker(socket.socket(fileno=int(arguments[0]))).serve()


if __name__ == "__main__":
    main(sys.argv[1:])
