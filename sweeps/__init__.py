"""Many runs: suites and sweeps."""
