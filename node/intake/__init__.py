"""Device readings over MQTT become signed compute reports.

Reading order: `reading` (the bytes a device signs) <- `tally` (readings become sums) <- `journal` (what must survive a crash)
<- `statements` (sums become content) <- `adapter` (MQTT with manual acknowledgement) <- `chains` (what others do for us)
<- `reporter` (closed periods become final entries) <- `gateway` (readings in, periods closed) <- `settings` (the file).
Beside them `device` (the other end of the wire) and `loopback` (a broker for the demonstration).

The gateway is a process of its own at the operator's site and a client of nodes: the operator's signing key lives here, outside
any node (DESIGN 3.1). `foedus intake run` puts it together.
"""
