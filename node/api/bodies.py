"""Bodies of HTTP requests, bounded."""

from starlette.requests import Request


async def read_body(request: Request, bytes_max: int) -> bytes | None:
    """The request's body; None if it is longer, whatever its headers say. Raises ClientDisconnect."""
    found = bytearray()
    async for chunk in request.stream():
        found += chunk
        if len(found) > bytes_max:
            return None
    return bytes(found)
