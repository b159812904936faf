"""The shipping driver in virtual time: whole nodes on machines that are not there (decision 0142).

    python -m tests.simulation --driver --seed 0x2a --trace

Reading order:

    loop      virtual time, and event loops that live on it
    disk      what survives a power cut, and the points at which one can come
    wires     calls between members
    machine   one node, put together as node.main does, on such a machine
    regime    what a seed draws
    scripted  a regime without faults, to put one in by hand
    membership  states that join, leave and change keys
    liars     what a Byzantine member sends
    client    authors who remember what was acknowledged
    committees  who validates in which epoch, read off the logs
    checkers  what must hold, judged from outside
    cluster   all of it together

The core alone, with more of its adversaries and far faster, is `consensus.simulate`.
"""
