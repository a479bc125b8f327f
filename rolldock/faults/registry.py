"""The faults of one process, and which request each applies to. It knows no HTTP."""

import random
import re
import uuid
from dataclasses import dataclass

from rolldock.faults.model import Action, ActiveFault, Fault, FaultsState


@dataclass
class _Kept:
    fault: Fault
    n_matched: int = 0
    hits: int = 0

    def applies(self, method: str, path: str) -> bool:
        """Whether it applies to this request, which is counted."""
        fault = self.fault
        if fault.method not in (None, method) or not re.fullmatch(fault.path, path):
            return False
        self.n_matched += 1
        if self.n_matched <= fault.skip or self.hits == fault.times:
            return False
        if random.random() >= fault.probability:
            return False
        self.hits += 1
        return True


class FaultRegistry:
    """Faults in the order in which they were added, and counters of requests."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}
        self._requests: dict[str, int] = {}

    def add(self, fault: Fault) -> str:
        """Take up a fault. Returns its id, which no restart repeats."""
        fault_id = uuid.uuid4().hex
        self._kept[fault_id] = _Kept(fault)
        return fault_id

    def remove(self, fault_id: str) -> bool:
        """Forget a fault. Returns whether there was one."""
        return self._kept.pop(fault_id, None) is not None

    def clear(self) -> None:
        """Forget all faults; the counters of requests go on."""
        self._kept.clear()

    def state(self) -> FaultsState:
        """All faults and counters."""
        faults = [
            ActiveFault(id=fault_id, fault=kept.fault, hits=kept.hits)
            for fault_id, kept in self._kept.items()
        ]
        return FaultsState(faults=tuple(faults), requests=dict(self._requests))

    def count(self, method: str, route: str) -> None:
        """Count a request by its route's pattern."""
        name = f"{method} {route}"
        self._requests[name] = self._requests.get(name, 0) + 1

    def action_for(self, method: str, path: str) -> Action | None:
        """What is to be done to a request: the action of the first fault that applies."""
        for kept in self._kept.values():
            if kept.applies(method, path):
                return kept.fault.action
        return None
