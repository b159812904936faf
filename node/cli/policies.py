"""The trust policies of all epochs, from nodes that are asked and a genesis that is believed."""

from foedus.v1 import client_pb2 as pb
from node.cli.client import LedgerClient, Nodes
from node.cli.errors import BadAnswer
from node.cli.founding import Founded
from node.ledger.policy_chain import BrokenChain, Link, Policies, follow
from node.log.errors import MalformedInput


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
