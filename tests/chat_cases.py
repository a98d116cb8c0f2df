#!/usr/bin/env python3
"""Chat rows with something odd in each, and digests of what templates make of them.

    chat_cases.py RENDER.json TEMPLATE.jinja PREFS.jsonl

compares what pipelines/dpo-chat makes of the rows (the cases below, those of PREFS.jsonl, and some with tools) with
testdata/golden/chat/render.json, which tests/peers/chat.py made of the same rows. Needs python3-jinja2.
"""
import datetime
import hashlib
import importlib.machinery
import importlib.util
import json
import pathlib
import sys

NOW = "2026-03-01"
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}


def said(role, content, **more):
    return {"role": role, "content": content, **more}


def row(prompt, chosen="Yes.", rejected="No.", **more):
    """A pair; answers that are strings are the assistant's."""
    answers = ([said("assistant", one)] if isinstance(one, str) else one for one in (chosen, rejected))
    return dict(zip(("prompt", "chosen", "rejected"), (prompt, *answers)), **more)


WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "The weather <now> & \"here\" – é",
    "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "description": "A city's name"},
        "days": {"type": "integer", "description": "How many", "default": 1},
        "unit": {"type": "string", "description": "Which", "enum": ["C", "F"]}}, "required": ["city"]},
    "return": {"type": "string", "description": "Words"}}}
CALL = said("assistant", "", tool_calls=[{"id": "call00001", "type": "function", "function": {
    "name": "get_weather", "arguments": {"city": "Zürich", "days": 2}}}])
RESULT = said("tool", "{\"sky\": \"blue\"}", name="get_weather", tool_call_id="call00001")
ASK = said("user", "Is the sky blue?")
CASES = [
    row([ASK]),
    row([said("system", "You are terse."), ASK]),
    row([said("system", ""), said("user", "")], "", " "),
    row([said("user", "One."), said("assistant", "Two."), said("user", "Three."), said("assistant", "Four."), ASK]),
    row([said("user", "  spaces around \n")], "\n newline first", "trailing space "),
    row([said("user", "naïve 東京 👩‍👩‍👧 \u200b ́ <|im_end|> </s> {{ 1 }} {% if %} <b>&amp;\"'</b>")], "é", "e\u0301"),
    row([ASK], [said("assistant", "First."), said("user", "Sure?"), said("assistant", "Yes.")], "No."),
    row([ASK], "<think>\nIt may be.\n</think>\n\nYes.", "<think></think>No."),
    row([ASK], [said("assistant", "Yes.", reasoning_content="It may be.")], [said("assistant", "No.", thinking="Hm.")]),
    row([ASK], tools=[WEATHER]),
    row([ASK], tools=json.dumps([WEATHER, WEATHER])),
    row([ASK], tools=[]),
    row([ASK, CALL, RESULT], "It is blue.", "Grey.", tools=[WEATHER]),
    row([ASK], [said("assistant", None, tool_calls=CALL["tool_calls"])], "I cannot know.", tools=[WEATHER]),
    row([said("user", [{"type": "text", "text": "Is it?"}])]),
    row([ASK], chat_template_kwargs={"date_string": "1 Jan 2020", "custom_tools": [WEATHER], "enable_thinking": False}),
    row([ASK], chat_template_kwargs={"bos_token": "<bos>", "tools_in_user_message": False}, tools=[WEATHER]),
    row([said("assistant", "I begin."), ASK]),
    row([ASK, said("user", "Is it?")]),
    row([said("system", "A"), said("system", "B"), ASK]),
    row([said("narrator", "Night falls."), ASK]),
]


# What the templates that refuse to be without tools want, each under its own name.
WITH_TOOLS = {"tools": [WEATHER], "chat_template_kwargs": {"functions": json.dumps([WEATHER]), "datetime": "noon"}}
GROUP = 20    # rows of the file that share a digest


def rows(prefs):
    """The cases, the rows of the file, and the first of them again as a caller with tools would have them."""
    with open(prefs, encoding="utf-8") as file:
        plain = [json.loads(line) for line in file]
    return CASES + plain + [each | WITH_TOOLS for each in plain[:100]]


def digest(texts):
    """Of a list of texts: 64 bits, enough to tell a mistake."""
    return hashlib.blake2b(json.dumps(texts).encode(), digest_size=8).hexdigest()


def fold(outcomes):
    """The outcome of each case, and digests of groups of the others."""
    rest = outcomes[len(CASES):]
    return outcomes[:len(CASES)] + [digest(rest[at:at + GROUP]) for at in range(0, len(rest), GROUP)]


def load_stage():
    """pipelines/dpo-chat as a module: run as a program it would stop at the first row a template refuses."""
    path = str(pathlib.Path(__file__).resolve().parent.parent / "pipelines" / "dpo-chat")
    sys.dont_write_bytecode = True
    loader = importlib.machinery.SourceFileLoader("dpo_chat", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("dpo_chat", loader))
    loader.exec_module(module)
    return module


def outcomes(template, prefs):
    """What dpo-chat makes of each row: the digest of its texts, or that the template refuses it."""
    stage = load_stage()
    renderer = stage.Renderer(None, template, datetime.datetime.fromisoformat(NOW))
    renderer.tokens = TOKENS
    for each in rows(prefs):
        try:
            found = json.loads(stage.take_line(renderer, json.dumps(each).encode()))
        except stage.Refused:
            yield "refused"
            continue
        assert found["rendered"] is True and not {"tools", "chat_template_kwargs"} & set(found)
        yield digest([found[key] for key in ("prompt", "chosen", "rejected")])


def compare(golden, template, prefs):
    """What differs, in words."""
    with open(golden, encoding="utf-8") as file:
        wanted = json.load(file)[pathlib.Path(template).stem]
    found = fold(list(outcomes(template, prefs)))
    if len(found) != len(wanted):
        yield f"{len(found)} digests, not {len(wanted)}"
    for number, (one, other) in enumerate(zip(found, wanted)):
        if one != other:
            yield f"digest {number}: {one}, not {other}"


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    wrong = list(compare(*sys.argv[1:]))
    print("\n".join(wrong[:5]) or f"{pathlib.Path(sys.argv[2]).stem}: same texts")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
