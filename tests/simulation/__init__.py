"""Tests of the consensus core in the simulator (`consensus.simulate`, where its reading order stands).

python -m tests.simulation --seeds 200       many runs
python -m tests.simulation --seed 0x2a --trace
"""
