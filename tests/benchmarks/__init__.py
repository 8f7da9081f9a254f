"""Speed against peers, side by side in one process: ``python -m tests.benchmarks`` (make bench)."""
