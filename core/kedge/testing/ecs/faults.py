"""What a test makes go wrong."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kedge.testing.ecs.refused import Refused


@dataclass(kw_only=True)
class Faults:
    """What a test makes go wrong; every list is used up from its start."""

    #: by operation: errors that it answers with
    errors: defaultdict[str, deque[Refused]] = field(default_factory=lambda: defaultdict(deque))
    #: reasons of `failures[]` that RunTask answers with
    failures: deque[str] = field(default_factory=deque)
    #: why the images of the next tasks cannot be pulled, in the words of ECS
    pulls: deque[str] = field(default_factory=deque)
    #: tasks stay PENDING until it is set
    may_run: threading.Event = field(default_factory=threading.Event)
    #: whether a task that has just been started is in no list
    lists_lag: bool = False
