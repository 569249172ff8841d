"""Maps under two programs that run at the same time, one on each CPU, while Python reads and writes: nothing is lost that is
promised, and nothing crashes.

The programs count what they did in an array of their own for each CPU; what is in the map afterwards has to agree.
BCC_PY_THREAD_SECONDS: how long each map is used, 0.3 by default."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from bcc_py.elf import read_object
from bcc_py.errors import KeyNotFound, MapError
from bcc_py.kernel import Map
from bcc_py.load import Loaded, load
from bcc_py.sim.kernel import SimKernel
from bcc_py.sim.program import SimProgram
from bcc_py.spec import MapSpec
from cfront import compile
from cfront.uapi import MapType, ProgType
from tests.sim.map_operations import keys_of
from tests.sim.quiet import Script, program

_SECONDS = float(os.environ.get("BCC_PY_THREAD_SECONDS", "0.3"))
_ROUND = 2000

_HEAD = """
struct tally { u64 done; u64 refused; u64 taken; u64 sum; };
BPF_PERCPU_ARRAY(tally, struct tally, 1);
"""
_BEGIN = """
int run(void *ctx) {
    int zero = 0;
    u64 one = 1, draw = bpf_get_prandom_u32();
    struct tally *mine = tally.lookup(&zero);
    if (!mine) return 0;
"""


@pytest.fixture
def kernel() -> Iterator[SimKernel]:
    made = SimKernel(Script(), spec="sim:test", cpus=2)
    yield made
    made.close()


def _run(kernel: SimKernel, text: str, meanwhile: Callable[[Loaded], None]) -> Loaded:
    """Runs the text's program on both CPUs for a while, and meanwhile in this thread."""
    loaded = load(read_object(compile(_HEAD + text)), kernel, {"run": ProgType.XDP})
    running = loaded.programs["run"]
    assert isinstance(running, SimProgram)
    until = time.monotonic() + _SECONDS
    kernel.state.running = 2

    def work(cpu: int) -> None:
        while time.monotonic() < until:
            running.repeat_on(cpu, _ROUND)

    threads = [threading.Thread(target=work, args=(cpu,)) for cpu in range(2)]
    for one in threads:
        one.start()
    try:
        while time.monotonic() < until:
            meanwhile(loaded)
    finally:
        for one in threads:
            one.join()
        kernel.state.running = 0
    return loaded


def _tally(loaded: Loaded) -> tuple[int, int, int, int]:
    """done, refused, taken, sum: of both CPUs."""
    value = loaded.maps["tally"].lookup(bytes(4))
    assert value is not None
    words = [int.from_bytes(value[at : at + 8], "little") for at in range(0, len(value), 8)]
    done, refused, taken, total = (words[at] + words[at + 4] for at in range(4))
    return done, refused, taken, total


def _number(value: bytes | None) -> int:
    return int.from_bytes(value or b"", "little")


def _read(map: Map) -> None:
    for key in keys_of_some(map):
        map.lookup(key)


def keys_of_some(map: Map) -> list[bytes]:
    """Some keys, though programs change the map: a walk need not end by itself."""
    keys: list[bytes] = []
    key = map.next_key(None)
    while key is not None and len(keys) < 100:
        keys.append(key)
        key = map.next_key(key)
    return keys


@pytest.mark.parametrize("table", ["BPF_HASH(m, u64, u64, 64)", "BPF_ARRAY(m, u64, 64)", "BPF_TABLE(\"lru_hash\", u64, u64, m, 256)"])
def test_no_count_is_lost(kernel: SimKernel, table: str) -> None:
    key = "u32" if "ARRAY" in table else "u64"
    text = table + ";" + _BEGIN + f"""
        {key} key = draw & 63;
        u64 *found = m.lookup(&key), zeros = 0;
        if (!found) {{
            m.insert(&key, &zeros);
            found = m.lookup(&key);
        }}
        if (found) {{ __sync_fetch_and_add(found, 1); mine->done++; }}
        return 2;
    }}"""
    loaded = _run(kernel, text, lambda made: _read(made.maps["m"]))
    assert sum(_number(loaded.maps["m"].lookup(key)) for key in keys_of(loaded.maps["m"])) == _tally(loaded)[0] > 0
    loaded.close()


def test_no_count_of_a_cpu_is_lost(kernel: SimKernel) -> None:
    text = "BPF_TABLE(\"percpu_hash\", u64, u64, m, 64);" + _BEGIN + """
        u64 key = draw & 63;
        u64 *found = m.lookup(&key), zeros = 0;
        if (!found) {
            m.insert(&key, &zeros);
            found = m.lookup(&key);
        }
        if (found) { *found += 1; mine->done++; }
        return 2;
    }"""
    loaded = _run(kernel, text, lambda made: _read(made.maps["m"]))
    map = loaded.maps["m"]
    values = [map.lookup(key) or b"" for key in keys_of(map)]
    # an insertion zeroes what the other CPU has not written yet, and only the one that was first counts
    assert sum(_number(one[:8]) + _number(one[8:]) for one in values) == _tally(loaded)[0] > 0
    loaded.close()


def _fill(map: Map, count: int) -> int:
    """How many of count new keys find room."""
    room = 0
    for number in range(count):
        try:
            map.update((1 << 40 | number).to_bytes(map.spec.key_size, "little"), bytes(8))
            room += 1
        except MapError:
            break
    return room


@pytest.mark.parametrize("table", [
    "BPF_HASH(m, u64, u64, 64)", "BPF_F_TABLE(\"hash\", u64, u64, m, 64, BPF_F_NO_PREALLOC)"])
def test_no_node_is_lost(kernel: SimKernel, table: str) -> None:
    """Both CPUs insert and delete at the limit; afterwards there is room for exactly max_entries keys."""
    text = table + ";" + _BEGIN + """
        u64 key = draw % 80;
        if (draw & 0x1000) { if (!m.delete(&key)) mine->taken++; }
        else if (!m.insert(&key, &draw)) mine->done++;
        else if (m.update(&key, &one)) mine->refused++;
        return 2;
    }"""

    def meanwhile(made: Loaded) -> None:
        _read(made.maps["m"])
        try:
            made.maps["m"].update((90).to_bytes(8, "little"), bytes(8))
            made.maps["m"].delete((90).to_bytes(8, "little"))
        except MapError:
            pass

    loaded = _run(kernel, text, meanwhile)
    map = loaded.maps["m"]
    assert _tally(loaded)[0] > 0
    for key in keys_of(map):
        map.delete(key)
    assert keys_of(map) == []
    assert _fill(map, 70) == 64
    loaded.close()


@pytest.mark.parametrize("table", [
    "BPF_TABLE(\"lru_hash\", u64, u64, m, 64)", "BPF_F_TABLE(\"lru_hash\", u64, u64, m, 64, 2)",
    "BPF_TABLE(\"lru_percpu_hash\", u64, u64, m, 64)"])
def test_an_lru_hash_always_has_room(kernel: SimKernel, table: str) -> None:
    text = table + ";" + _BEGIN + """
        u64 key = draw % 300;
        if (draw & 0x10000) m.delete(&key);
        else if (m.update(&key, &draw)) mine->refused++;
        if (m.lookup(&key)) mine->done++;
        return 2;
    }"""
    loaded = _run(kernel, text, lambda made: _read(made.maps["m"]))
    map = loaded.maps["m"]
    assert _tally(loaded)[1] == 0
    keys = keys_of(map)
    assert len(keys) == len(set(keys)) <= 64
    for key in keys:
        map.delete(key)
    assert keys_of(map) == []
    for number in range(64):
        map.update(number.to_bytes(8, "little"), bytes(map.spec.value_size if "percpu" not in table else 16))
    assert 32 <= len(keys_of(map)) <= 64
    loaded.close()


@pytest.mark.parametrize("kind", ["QUEUE", "STACK"])
def test_what_is_pushed_is_popped_or_there(kernel: SimKernel, kind: str) -> None:
    text = f"BPF_{kind}(m, u64, 50);" + _BEGIN + """
        u64 got = 0;
        if (draw & 0x100) { if (!m.pop(&got)) { mine->taken++; mine->sum -= got; } }
        else if (!m.push(&draw, 0)) { mine->done++; mine->sum += draw; }
        return 2;
    }"""
    taken: list[int] = []

    def meanwhile(made: Loaded) -> None:
        value = made.maps["m"].lookup_and_delete(b"")
        if value is not None:
            taken.append(_number(value))

    loaded = _run(kernel, text, meanwhile)
    done, _, popped, total = _tally(loaded)
    left = []
    while (value := loaded.maps["m"].lookup_and_delete(b"")) is not None:
        left.append(_number(value))
    assert done == popped + len(taken) + len(left) and done > 0
    assert total % (1 << 64) == (sum(taken) + sum(left)) % (1 << 64)
    loaded.close()


def test_a_trie_answers_while_it_changes(kernel: SimKernel) -> None:
    """The prefix of length 0 is always there, so every look-up finds one."""
    text = "struct prefix { u32 length; u32 bits; }; BPF_LPM_TRIE(m, struct prefix, u64, 20000);" + _BEGIN + """
        struct prefix key = { .length = 1 + (draw >> 20) % 32, .bits = draw & 0x0f0f };
        if (draw & 0x1000) m.delete(&key);
        else if (m.update(&key, &draw)) mine->refused++;
        key.length = 32;
        if (m.lookup(&key)) mine->done++;
        else mine->taken++;
        return 2;
    }"""

    def meanwhile(made: Loaded) -> None:
        made.maps["m"].update(bytes(8), bytes(8))
        _read(made.maps["m"])

    loaded = _run(kernel, text, meanwhile)
    done, _, missed, _ = _tally(loaded)
    assert done > 0 and missed < done
    keys = keys_of(loaded.maps["m"])
    assert len(keys) == len(set(keys)) <= 20000
    for key in keys:
        loaded.maps["m"].delete(key)
    assert keys_of(loaded.maps["m"]) == []
    loaded.close()


def test_a_ring_buffer_loses_what_it_says(kernel: SimKernel) -> None:
    """produced = consumed + lost, exactly; each CPU's records come in order."""
    text = """
    struct record { u64 cpu; u64 number; };
    BPF_RINGBUF_OUTPUT(m, 1);""" + _BEGIN + """
        struct record *made = m.ringbuf_reserve(sizeof(struct record));
        mine->sum++;
        if (!made) { mine->refused++; return 2; }
        made->cpu = bpf_get_smp_processor_id();
        made->number = mine->sum;
        if (mine->sum % 7) { m.ringbuf_submit(made, 0); mine->done++; }
        else { m.ringbuf_discard(made, 0); mine->taken++; }
        return 2;
    }"""
    last = [0, 0]
    count = 0

    def see(record: memoryview) -> None:
        nonlocal count
        cpu, number = (_number(bytes(record[at : at + 8])) for at in (0, 8))
        assert number > last[cpu] and number % 7
        last[cpu] = number
        count += 1

    rings = []

    def meanwhile(made: Loaded) -> None:
        if not rings:
            rings.append(kernel.open_ring_buffer(made.maps["m"], see))
        rings[0].consume()

    loaded = _run(kernel, text, meanwhile)
    rings[0].consume()
    done, refused, discarded, tries = _tally(loaded)
    assert count == done > 0
    assert tries == done + refused + discarded
    ring = loaded.maps["m"].pointer.rings  # type: ignore[attr-defined]
    assert ring.lost == refused
    assert ring.head == ring.tail == (done + discarded) * 24
    rings[0].close()
    loaded.close()


def test_a_perf_buffer_loses_what_it_says(kernel: SimKernel) -> None:
    text = "BPF_PERF_OUTPUT(m);" + _BEGIN + """
        mine->sum++;
        if (m.perf_submit(ctx, &mine->sum, 8)) mine->refused++;
        else mine->done++;
        return 2;
    }"""
    count, lost = 0, 0

    def see(cpu: int, record: memoryview) -> None:
        nonlocal count
        count += 1

    def miss(cpu: int, number: int) -> None:
        nonlocal lost
        lost += number

    rings = []

    def meanwhile(made: Loaded) -> None:
        if not rings:
            rings.append(kernel.open_perf_buffer(made.maps["m"], see, miss, 1))
        rings[0].consume()

    loaded = _run(kernel, text, meanwhile)
    rings[0].consume()
    done, refused, _, tries = _tally(loaded)
    pointer = loaded.maps["m"].pointer  # type: ignore[attr-defined]
    waiting = sum(int(pointer.rings[cpu].lost_pending) for cpu in range(2))
    assert count == done > 0
    assert tries == done + refused
    assert lost + waiting == sum(int(pointer.rings[cpu].lost) for cpu in range(2)) <= refused
    rings[0].close()
    loaded.close()


def test_bloom_filters_forget_nothing(kernel: SimKernel) -> None:
    """Each program asks for what it just put in."""
    map = kernel.create_map(MapSpec("m", MapType.BLOOM_FILTER, 0, 8, 1000))
    loaded = kernel.load_program(program("""
        call bpf_get_prandom_u32#7
        r0 &= 1023
        *(u64 *)(r10 -8) = r0
        r1 = $m
        r2 = r10
        r2 += -8
        r3 = 0
        call bpf_map_push_elem#87
        r1 = $m
        r2 = r10
        r2 += -8
        call bpf_map_peek_elem#89
        exit""", ProgType.XDP, m=map.fd))
    assert isinstance(loaded, SimProgram)
    answers: list[int] = []
    threads = [threading.Thread(target=lambda cpu=cpu: answers.extend(loaded.repeat_on(cpu, 20) for _ in range(300))) for cpu in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert answers == [0] * 600


def test_a_key_that_is_gone_is_not_found(kernel: SimKernel) -> None:
    """Python deletes and writes what the programs update: each deletion finds its key or says that it is not there."""
    text = "BPF_HASH(m, u32, u64, 8);" + _BEGIN + """
        u32 key = draw & 3;
        if (m.update(&key, &draw)) mine->refused++;
        else mine->done++;
        return 2;
    }"""

    def meanwhile(made: Loaded) -> None:
        for number in range(4):
            try:
                made.maps["m"].delete(number.to_bytes(4, "little"))
            except KeyNotFound:
                pass

    loaded = _run(kernel, text, meanwhile)
    assert _tally(loaded)[1] == 0
    assert len(keys_of(loaded.maps["m"])) <= 4
    loaded.close()
