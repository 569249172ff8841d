"""An interrupt (Ctrl-C, SIGTERM) may come between any two lines of ours; what was open is closed all the same."""

from __future__ import annotations

import gc
import sys
from types import FrameType
from typing import Any

import pytest

from bcc_py import BPF

TEXT = """
BPF_RINGBUF_OUTPUT(events, 8);
TRACEPOINT_PROBE(sched, sched_process_exec) { u32 one = 1; events.ringbuf_output(&one, sizeof(one), 0); return 0; }
"""


def _interrupt_at(count: int) -> Any:
    """A trace function that raises KeyboardInterrupt at the count-th line of bcc_py."""
    left = [count]

    def line(frame: FrameType, event: str, arg: object) -> Any:
        left[0] -= 1
        if left[0] == 0:
            sys.settrace(None)
            raise KeyboardInterrupt
        return line

    def call(frame: FrameType, event: str, arg: object) -> Any:
        return line if "bcc_py" in frame.f_code.co_filename else None

    return call


@pytest.mark.parametrize("count", [*range(1, 160), 300, 1000, 3000, 10000, 20000, 40000])
def test_closing_works_after_an_interrupt_anywhere(count: int) -> None:
    records: list[int] = []
    interrupted = False
    with BPF(text=TEXT, kernel="sim:shell,seconds=3") as bpf:
        before = sys.gettrace()
        gc.disable()  # an exception in a finaliser would go nowhere
        sys.settrace(_interrupt_at(count))
        try:
            bpf["events"].open_ring_buffer(lambda _ctx, data, _size: records.append(bpf["events"].event(data).value))
            while not bpf.is_finished:
                bpf.ring_buffer_poll(100)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            sys.settrace(before)
            gc.enable()
    assert interrupted or (count > 1000 and records)
    bpf.close()
