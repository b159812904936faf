"""Chaos: real nodes on hosts of their own, and everything that happens to hosts (`python -m tests.chaos --help`).

sandbox    one process tree with its own network, mounts and process numbers: nothing of the machine is touched or left
wires      the cables between the hosts: delay, jitter, loss, cuts, packet by packet
site       hosts (network namespaces), disks, clocks, and the node processes on them
faults     what can happen, and how it ends; `schedule` draws it from a seed
load       authors who submit all the time and write down what was acknowledged
checker    reads what the nodes' disks hold; shares no code with the product
run        one run from founding to verdict
"""
