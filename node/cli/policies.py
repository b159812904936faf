"""The trust policies of all epochs, and who validates today, from nodes that are asked and a genesis that is believed."""

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import replace

from foedus.v1 import client_pb2 as pb
from node.cli.client import LedgerClient, NodeAddress
from node.cli.errors import BadAnswer, ClientError, CouldNot
from node.cli.founding import Founded
from node.cli.nodes import Nodes
from node.cli.receipts import receipt_file, verify_receipt
from node.ledger.errors import MalformedRecord
from node.ledger.genesis import GenesisMember
from node.ledger.policy_chain import BrokenChain, Link, Policies, follow
from node.ledger.records import parse_epoch_record
from node.ledger.seats import member_in
from node.log.errors import MalformedInput
from node.log.proof import parse_proof
from node.settings import host_and_port

SHOWN_S = 5.0


async def policies_of(nodes: Nodes, founded: Founded) -> Policies:
    """As far as the first node leads that gives a chain that holds. Raises ClientError."""

    async def asked(client: LedgerClient) -> Policies:
        answer = await client.genesis()
        return followed(founded, client.state, answer)

    return await nodes.first(asked)


def followed(founded: Founded, state: str, answer: pb.GetGenesisResponse) -> Policies:
    """Raises BadAnswer: the links do not hold."""
    links = [Link(proof=link.proof, policy=link.policy) for link in answer.policies]
    try:
        return follow(founded.trust_policy, links)
    except (BrokenChain, MalformedInput) as err:
        raise BadAnswer(state, f"its trust policies do not hold: {err}") from err


async def members_shown(founded: Founded, addresses: Sequence[NodeAddress]) -> list[GenesisMember]:
    """Who validates today, by the first of these nodes that proves it; the founders, if none does.

    A node's certificate may be another by now than the one in its address. If none is as expected, they are asked once more under
    the certificates that they show, for this alone: whatever they say is proven from the genesis (RULINGS R48).
    """
    for address in addresses:
        async with LedgerClient(address) as client:
            try:
                return await _members_of(founded, client)
            except ClientError:
                continue
    for address in addresses:
        try:
            shown = await asyncio.to_thread(_certificate_shown, address.target)
        except OSError:
            continue
        async with LedgerClient(replace(address, certificate_pem=shown)) as client:
            try:
                return await _members_of(founded, client)
            except ClientError:
                continue
    return list(founded.genesis.members)


def _certificate_shown(target: str) -> bytes:
    """Raises OSError."""
    return ssl.get_server_certificate(host_and_port(target), timeout=SHOWN_S).encode()


async def _members_of(founded: Founded, client: LedgerClient) -> list[GenesisMember]:
    """Each seat is proven: the epoch's record names its entry, and a receipt shows that entry. Raises ClientError."""
    answer = await client.genesis()
    policies = followed(founded, client.state, answer)
    if not answer.policies:
        return list(founded.genesis.members)
    record = parse_epoch_record(parse_proof(answer.policies[-1].proof).extra or b"")
    founders = {member.state: member for member in founded.genesis.members}
    found = []
    for state, place in record.members:
        if not place:
            found.append(founders[state])
            continue
        given = await client.receipt(place)
        if not given.leaf:
            continue  # shown to readers alone: nobody else can reach that node by name
        try:
            verdict = verify_receipt(receipt_file(given.proof, given.leaf), policies)
            if not verdict.proven or verdict.index != place:
                raise BadAnswer(client.state, f"no proof of the seat of {state}: {verdict.why}")
            found.append(member_in(founded.genesis, state, given.leaf, place))
        except (CouldNot, MalformedInput, MalformedRecord) as err:
            raise BadAnswer(client.state, f"the seat of {state}: {err}") from err
    return found
