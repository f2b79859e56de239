import time

import pytest

from shared.library.rendering import MAX_OUTPUT, TemplateFault, names_in, render


def test_values_and_components_are_filled_in() -> None:
    text = render("{{ name | upper }} on {{ place }}{% for s in styles %}, {{ s }}{% endfor %}", VALUES)
    assert text == "OIL on stone, calm, plain"


VALUES = {"name": "oil", "place": "stone", "styles": ["calm", "plain"], "text": "q" * 4000, "label": {"line": "100 ml"}}


def test_what_a_requester_writes_is_never_run_as_a_template() -> None:
    assert render("{{ place }}", {"place": "{{ name }}{% for x in y %}"}) == "{{ name }}{% for x in y %}"


def test_a_name_that_was_not_given_is_a_fault_and_not_empty_text() -> None:
    with pytest.raises(TemplateFault, match="'colour' is undefined"):
        render("{{ colour }}", VALUES)


def test_an_optional_value_can_have_a_default() -> None:
    assert render("{{ colour | default('bone') }}, {{ empty | default('linen') }}", {"empty": ""}) == "bone, linen"


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'a' * 200000000 }}",
        "{{ 2 ** 99999999 }}",
        "{{ '%0200000000d' % 1 }}",
        "{{ '%0200000000d' | format(1) }}",
        "{{ '' | center(200000000) }}",
        "{{ text.format }}",
        "{{ text.__class__ }}",
        "{{ text['__class__'] }}",
        "{{ label.items }}",
        "{{ ''.join(styles) }}",
        "{{ range(100000) }}",
        "{% set a = text %}{{ a }}",
        "{% macro m() %}{% endmacro %}",
        "{% include 'other' %}",
        "{% import 'other' as o %}",
        "{% for s in styles recursive %}{{ loop(styles) }}{% endfor %}",
        "{{ _meter }}",
        "{{ styles }}",
        "{{ self }}",
        "{{ 'x'",
        "{{ " + "(" * 500 + "1" + ")" * 500 + " }}",
        "{{ " + "not " * 4000 + "1 }}",
        "{{ " + "9" * 5000 + " }}",
        "{% if 1 %}" * 400,
        "{{ 1 + 'a' }}",
    ],
)
def test_a_template_that_reaches_for_more_is_refused(source: str) -> None:
    with pytest.raises(TemplateFault):
        render(source, VALUES)


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in text %}{% for b in text %}{% for c in text %}{% endfor %}{% endfor %}{% endfor %}",
        "{{ text ~ text ~ text ~ text ~ text }}",
        "{{ [text, text, text, text, text] | join }}",
        "{{ text | replace('q', text) }}",
        "{{ text | replace('', text) }}",
        "{% for a in text[:500] %}{{ text }}{% endfor %}",
    ],
)
def test_output_and_steps_are_capped_before_they_cost_anything(source: str) -> None:
    used = time.process_time()
    with pytest.raises(TemplateFault, match=f"{MAX_OUTPUT} characters|steps"):
        render(source, VALUES)
    assert time.process_time() - used < 2  # uncapped, each of these runs for minutes or fills the memory


def test_the_names_a_template_asks_for_are_known_without_rendering_it() -> None:
    assert names_in("{{ product.name }}{% for s in styles %}{{ s }}{% endfor %}{{ label['line'] }}") == {
        "product",
        "styles",
        "label",
    }


def test_a_fault_names_the_line_it_stands_on() -> None:
    with pytest.raises(TemplateFault) as caught:
        render("one\ntwo\n{{ 2 * 3 }}", {})
    assert caught.value.line == 3
