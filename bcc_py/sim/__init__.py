"""The simulated kernel. kernel.py is the Kernel; world/ and replay/ make its events; runtime/ is its C."""
