"""The Kafka edge: requests-accepted → prompts-assembled, jobs-ended."""

from services.prompt.domain import assemble
from shared.bus import Bus
from shared.events import JobFailed, PromptAssembled, RequestAccepted
from shared.library.documents import Brand, Campaign, Policy, Template
from shared.library.pinned import Library
from shared.topics import REQUESTS_ACCEPTED


def wire(bus: Bus, *, library: Library) -> None:
    @bus.transform(REQUESTS_ACCEPTED, group="prompt")
    async def on_request_accepted(event: RequestAccepted) -> list[PromptAssembled | JobFailed]:
        workspace = event.workspace
        return assemble(
            event,
            template=await library.get(Template, workspace, event.template),
            brand=await library.get(Brand, workspace, event.brand),
            policy=await library.get(Policy, workspace, event.policy),
            campaign=await library.get(Campaign, workspace, event.campaign) if event.campaign else None,
        )
