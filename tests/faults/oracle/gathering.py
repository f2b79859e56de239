"""Reads everything there is of a world, once."""

from collections import defaultdict

from tests.faults.oracle import files, kafka, postgres
from tests.faults.oracle.evidence import Evidence, Leak
from tests.faults.oracle.reach import reach
from tests.faults.oracle.reading import document_key, documents_of, files_of, read_event, read_letter
from tests.faults.oracle.world import World

PUBLIC = (
    "requests-rejected.v1",
    "requests-completed.v1",
    "assets-approved.v1",
    "assets-rejected.v1",
    "assets-recalled.v1",
    "assets-published.v1",
)
LEDGERS = (
    "accepted",
    "replays",
    "reruns",
    "cancels",
    "batch_cancels",
    "decisions",
    "complaints",
    "poison",
    "deliveries",
    "spans",
)


async def gather(world: World) -> Evidence:
    found = Evidence(prefix=world.prefix)
    for name in LEDGERS:
        setattr(found, name, files.lines(world.ledgers / f"{name}.jsonl"))
    found.is_traced = (world.ledgers / "spans.jsonl").exists()
    for provider, visibility in world.providers.items():
        by = {"by": provider, "visibility": visibility}
        found.calls += [by | line for line in files.lines(world.ledgers / provider / "calls.jsonl")]
        found.charges += [by | line for line in files.lines(world.ledgers / provider / "charges.jsonl")]
    workspaces = files.lines(world.ledgers / "workspaces.jsonl")
    found.tables, found.kept, found.unfinished = await postgres.tables(world)
    await _hear(world, found, secrets=files.texts_of(world, [row["token"] for row in workspaces]))
    found.blobs = await files.blobs(world, sorted(named_keys(found)))
    found.sets, found.leftovers = files.published(world.published)
    found.reached = await reach(world, found, workspaces)
    return found


def named_keys(evidence: Evidence) -> set[str]:
    """Every key that a fact of ours names."""
    keys = {file["key"] for event in evidence.all_of("ImageGenerated", "ImageProcessed") for file in files_of(event)}
    for event in evidence.all_of("RequestAccepted"):
        keys |= {document_key(event.workspace, pin["digest"]) for pin in documents_of(event)}
    return keys


async def _hear(world: World, found: Evidence, *, secrets: dict[str, str]) -> None:
    """Every record: facts, dead letters, and what may stand in none; then the same for files."""
    known = {row["workspace"] for row in found.table("intake.workspaces")}
    public = {world.prefix + name for name in PUBLIC}
    secret, canary = files.Search(secrets), files.Search({"a prompt": world.prompts_canary})
    differing: dict[str, set[str]] = defaultdict(set)
    async for record in kafka.records(world):
        texts = [record.key, record.value, *(value for _, value in record.headers)]
        secret.look(f"topic {record.topic}", *texts)
        if record.topic in public:
            canary.look(f"topic {record.topic}", *texts)
        if record.topic.endswith(".dlq"):
            found.letters.append(read_letter(record.headers, f"{record.topic}/{record.partition}/{record.offset}"))
            continue
        read = read_event(record.headers, record.value, key=record.key)
        if read is None or read[0].workspace not in known:
            continue
        event, misnamed = read
        event.topic = record.topic
        if misnamed:
            found.misnamed[event.id] = misnamed
        before = found.events.setdefault(event.id, event)
        if before.digest != event.digest:
            differing[event.id] |= {before.digest, event.digest}
    found.differing = dict(differing)
    for search in (secret, canary):
        search.look_through(world.logs)
        search.look_through(world.published)
        if world.server_logs is not None:
            search.look_through(world.server_logs)
    for span in found.spans:
        secret.look("a span", repr(span).encode())
        canary.look("a span", repr(span).encode())
    leaks: list[Leak] = secret.leaks + canary.leaks
    found.leaks = leaks
