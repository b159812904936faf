"""A broker inside this process, on loopback: for the demonstration alone.

amqtt needs nothing installed, which is why `foedus demo` embeds it. It forgets its sessions when it ends and delivers nothing
again that was not acknowledged (RULINGS R64, measured with 0.12.1): a site needs a broker that does, such as Mosquitto.

    async with loopback_broker(port): ...
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from amqtt.broker import Broker
from amqtt.errors import BrokerError

from node.intake.turns import to_the_end

CONNECTIONS_MAX: Final = 256


@asynccontextmanager
async def loopback_broker(port: int) -> AsyncIterator[None]:
    """Anybody on this machine may publish and subscribe; readings carry their own signatures.

    Raises OSError if the port cannot be had.
    """
    # It warns of every PUBACK that is faster than its own bookkeeping; its errors come as exceptions.
    logging.getLogger("amqtt").setLevel(logging.CRITICAL)
    broker = Broker(
        {
            "listeners": {
                "default": {
                    "type": "tcp",
                    "bind": f"127.0.0.1:{port}",
                    "max_connections": CONNECTIONS_MAX,
                }
            },
            "plugins": {
                "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}
            },
        }
    )
    try:
        await broker.start()
    except BrokerError as err:
        raise OSError(f"127.0.0.1:{port}: no broker there: {err}") from err
    try:
        yield
    finally:
        await to_the_end(broker.shutdown())  # half shut down, it keeps its port
