"""The parts of `bench_growth`: a module for each thing that grows."""
