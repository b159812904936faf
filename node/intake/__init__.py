"""Device readings over MQTT become signed compute reports.

Reading order: `reading` (the bytes a device signs) <- `tally` (readings of one period become sums) <- `journal`
(what must survive a crash) <- `adapter` (MQTT with manual acknowledgement) <- `gateway` (the loop).
The operator's signing key lives here, outside the node (DESIGN 3.1): the gateway is a client of nodes.
"""
