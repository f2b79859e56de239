"""How a template, a brand and a request become prompts; no clock, no randomness, no reading."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.prompt.policy import refusal
from shared import ids
from shared.events import FailureReason, JobFailed, Parameters, PromptAssembled, RequestAccepted, Stage
from shared.library.documents import Brand, Campaign, Policy, Template
from shared.library.rendering import TemplateFault, names_in, render
from shared.library.values import names_of, strings_in, values_of

MAX_BYTES = 128 * 1024  # of all texts of a job in UTF-8; an event may have 256 KiB
BYTES_A_CHARACTER = 4  # at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """Everything one job says, before it is judged."""

    prompt: str
    negative_prompt: str
    scene: dict[str, Any]
    alt_text: str | None
    caption: str | None


def assemble(
    request: RequestAccepted, *, template: Template, brand: Brand, policy: Policy, campaign: Campaign | None = None
) -> list[PromptAssembled | JobFailed]:
    """One event per job, in the order of the variants."""
    values = values_of(
        template,
        brand,
        variables=request.variables,
        products=request.products,
        campaign=campaign,
        locale=request.brief.locale,
        variants=request.as_variants or request.variants,
    )
    made: list[PromptAssembled | JobFailed] = []
    texts: Texts | None = None
    failure: tuple[FailureReason, str, str] | None = None
    every_variant_differs = request.variants > 1 and "variant" in _names(template, brand)
    for variant in range(1, request.variants + 1):
        if variant == 1 or every_variant_differs:
            try:
                texts, failure = _texts(template, brand, {**values, "variant": request.as_variant or variant}), None
            except TemplateFault as fault:
                remedy = "correct the template, publish it as a new version and send the request again"
                texts, failure = None, (FailureReason.INVALID_REQUEST, f"{template.label}: {fault}", remedy)
            if texts is not None and (refused := refusal(policy, _judged(request, texts))):
                failure = (FailureReason.POLICY_REFUSED, refused.detail, refused.remedy)
        if failure is not None or texts is None:
            assert failure is not None
            made.append(_failed(request, variant, failure))
        else:
            made.append(_assembled(request, variant, template, brand, texts))
    return made


def _names(template: Template, brand: Brand) -> frozenset[str]:
    try:
        return names_of(template) | names_in(brand.caption or "")
    except TemplateFault:
        return frozenset()  # it fails alike for every variant


def _judged(request: RequestAccepted, texts: Texts) -> dict[str, str | None]:
    """What policy reads: all that a model or the public will see. Not the negative prompt, which names the unwanted."""
    headline = request.variables.get("headline")
    return {
        "prompt": texts.prompt,
        "headline": str(headline) if headline else None,
        "alt text": texts.alt_text,
        "caption": texts.caption,
        "intended use": request.intended_use,
    }


def _texts(template: Template, brand: Brand, values: Mapping[str, Any]) -> Texts:
    components = {name: render(source, values) for name, source in template.components.items()}
    values = {**values, "components": components}
    scene = {key: value for key, value in _rendered(template.scene, values).items() if value != ""}
    constraints = (*brand.style, *brand.composition, *brand.lighting, *brand.background)
    prompt = _sentence(render(template.prompt, values), constraints)
    negative_prompt = _enumeration(render(template.negative_prompt, values), brand.prohibited)
    alt_text = render(template.alt_text, values)
    caption = render(template.caption or brand.caption or "", values)
    said = (prompt, negative_prompt, alt_text, caption, *(text for _, text in strings_in(scene, ())))
    if sum(map(len, said)) * BYTES_A_CHARACTER > MAX_BYTES and sum(len(text.encode()) for text in said) > MAX_BYTES:
        raise TemplateFault(f"the texts of a job grow beyond {MAX_BYTES // 1024} KiB")
    return Texts(
        prompt=prompt,
        negative_prompt=negative_prompt,
        scene=scene,
        alt_text=alt_text or None,
        caption=caption or None,
    )


def _rendered(value: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(value, str):
        return render(value, values)
    if isinstance(value, Mapping):
        return {key: _rendered(inner, values) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rendered(inner, values) for inner in value]
    return value


def _unsaid(text: str, phrases: Sequence[str]) -> Iterator[str]:
    """The brand's phrases that the text does not say already."""
    said = text.casefold()
    for phrase in dict.fromkeys(phrases):
        if phrase.casefold() not in said:
            yield phrase


def _sentence(prompt: str, constraints: Sequence[str]) -> str:
    unsaid = ", ".join(_unsaid(prompt, constraints))
    return f"{prompt.rstrip(' .,')}. {unsaid}." if unsaid else prompt


def _enumeration(negative: str, prohibited: Sequence[str]) -> str:
    return ", ".join(filter(None, (negative.rstrip(" .,"), *_unsaid(negative, prohibited))))


def _assembled(
    request: RequestAccepted, variant: int, template: Template, brand: Brand, texts: Texts
) -> PromptAssembled:
    job = ids.job_id(request.request_id, variant)
    return PromptAssembled.of(
        cause_id=request.event_id,
        occurred_at=request.occurred_at,
        workspace=request.workspace,
        client_reference=request.client_reference,
        request_id=request.request_id,
        job_id=job,
        brief=request.brief.model_copy(update={"variant": variant, "variants": request.variants}),
        prompt=texts.prompt,
        negative_prompt=texts.negative_prompt,
        parameters=Parameters(**template.parameters.model_dump()),
        seed=ids.seed_for(job, request.seed, variant),
        scene=_scene(request, variant, template, brand, texts),
        template=request.template,
        brand=request.brand,
        rubric=request.rubric,
        recipes=request.recipes,
        alt_text=texts.alt_text,
        caption=texts.caption,
        priority=request.priority,
        confidentiality=request.confidentiality,
        deadline=request.deadline,
        sources=request.sources,
        strength=request.strength,
        reproducible=request.reproducible,
    )


def _scene(request: RequestAccepted, variant: int, template: Template, brand: Brand, texts: Texts) -> dict[str, Any]:
    """What the renderer without a model draws from; the template's own scene comes last and may override."""
    scene: dict[str, Any] = {
        "template": template.label,
        "layout": template.layout,
        "variant": request.as_variant or variant,
        "palette": brand.palette,
        "locale": request.brief.locale,
        "headline": request.variables.get("headline") or "",
        "season": request.variables.get("season") or "",
    }
    if request.products:
        product = request.products[0]
        scene["product"] = product.model_dump(exclude={"attributes"}, exclude_none=True)
    return {key: value for key, value in (scene | texts.scene).items() if value != ""}


def _failed(request: RequestAccepted, variant: int, failure: tuple[FailureReason, str, str]) -> JobFailed:
    reason, detail, remedy = failure
    return JobFailed.of(
        cause_id=request.event_id,
        occurred_at=request.occurred_at,
        workspace=request.workspace,
        client_reference=request.client_reference,
        request_id=request.request_id,
        job_id=ids.job_id(request.request_id, variant),
        stage=Stage.PROMPT,
        reason=reason,
        detail=detail,
        remedy=remedy,
        confidentiality=request.confidentiality,
    )
