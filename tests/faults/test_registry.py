"""Which requests a fault applies to, and what its server tells of it."""

import asyncio
import re

import httpx
import pytest

from rolldock.errors import UnavailableError, UsageError
from rolldock.faults.client import FaultClient
from rolldock.faults.model import Answer, Cut, Delay, Fault, Late

BROKEN = Answer(status=503)


async def statuses(http: httpx.AsyncClient, n: int, path: str = "/whole/a") -> list[int]:
    """The statuses of so many requests, one after the other."""
    return [(await http.post(path)).status_code for _ in range(n)]


async def test_once_by_default(http: httpx.AsyncClient, faults: FaultClient) -> None:
    """A fault applies to one request; what does not match it neither counts nor suffers."""
    fault = await faults.add(Fault(method="POST", path="/whole/a", action=BROKEN))
    assert await statuses(http, 1, "/whole/ab") == [200]
    assert (await http.get("/whole/a")).status_code == 405
    assert await statuses(http, 3) == [503, 200, 200]
    assert await faults.hits(fault) == 1


async def test_skip_and_times(http: httpx.AsyncClient, faults: FaultClient) -> None:
    """So many requests pass first, so many are hit, the rest passes."""
    await faults.add(Fault(path="/whole/.*", action=BROKEN, skip=2, times=2))
    assert await statuses(http, 6) == [200, 200, 503, 503, 200, 200]


async def test_without_end_until_removed(http: httpx.AsyncClient, faults: FaultClient) -> None:
    """`times: None` applies to all requests; a removed fault to none."""
    fault = await faults.add(Fault(path="/whole/.*", action=BROKEN, times=None))
    assert await statuses(http, 5) == [503] * 5
    await faults.remove(fault)
    assert await statuses(http, 1) == [200]
    with pytest.raises(UsageError, match="no fault"):
        await faults.hits(fault)
    with pytest.raises(UsageError, match=f"no fault {fault}"):
        await faults.remove(fault)


async def test_probability(http: httpx.AsyncClient, faults: FaultClient) -> None:
    """A fault of some probability hits some requests, and only hits count towards `times`."""
    await faults.add(Fault(path="/whole/.*", action=BROKEN, times=5, probability=0.5))
    got = await statuses(http, 100)
    assert got.count(503) == 5


async def test_the_first_that_applies(http: httpx.AsyncClient, faults: FaultClient) -> None:
    """Of several faults the first that has not had its fill is the only one applied."""
    first = await faults.add(Fault(path="/whole/a", action=Answer(status=500)))
    second = await faults.add(Fault(path=".*", action=BROKEN, times=None))
    assert await statuses(http, 2) == [500, 503]
    assert (await faults.hits(first), await faults.hits(second)) == (1, 1)
    await faults.clear()
    assert (await faults.state()).faults == ()
    assert await statuses(http, 1) == [200]


async def test_requests_are_counted_by_route(http: httpx.AsyncClient, faults: FaultClient) -> None:
    """Counters are by method and pattern, faulted requests too; the admin's own are left out."""
    await faults.add(Fault(path="/whole/a", action=BROKEN))
    await asyncio.gather(*(http.post(f"/whole/{name}") for name in "abc"))
    await http.get("/nowhere")
    counted = {"POST /whole/{name}": 3, "GET (no route)": 1}
    assert (await faults.state()).requests == counted


async def test_state_gives_faults_back(faults: FaultClient) -> None:
    """What was added is told as it was added."""
    given = [
        Fault(path="/a", action=Cut(n_bytes=5), skip=3),
        Fault(method="GET", path="/b", action=Late(seconds=1.5), times=None),
        Fault(path="/c", action=Delay(seconds=1, when="after"), probability=0.25),
    ]
    ids = [await faults.add(fault) for fault in given]
    kept = (await faults.state()).faults
    assert [(it.id, it.fault, it.hits) for it in kept] == [
        (fault_id, fault, 0) for fault_id, fault in zip(ids, given, strict=True)
    ]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"path": "(", "action": {"kind": "drop"}}', "path: .*no regular expression"),
        ('{"path": "/", "action": {"kind": "explode"}}', "action"),
        ('{"path": "/", "action": {"kind": "cut"}}', "n_bytes"),
        ("nonsense", "Invalid JSON"),
    ],
)
async def test_a_wrong_fault_is_refused(http: httpx.AsyncClient, body: str, message: str) -> None:
    """With 422 and a line that names the field."""
    reply = await http.post("/faults", content=body)
    assert reply.status_code == 422
    assert len(reply.text.splitlines()) == 1
    assert re.search(message, reply.text)


async def test_no_server() -> None:
    """A server that does not answer is a named error."""
    async with FaultClient("http://127.0.0.1:1") as nobody:
        with pytest.raises(UnavailableError, match="is the server running"):
            await nobody.state()
