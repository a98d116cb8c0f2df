#!/usr/bin/env python3
"""What transformers and TRL make of chat rows, as digests.

    chat.py render TEMPLATES PREFS.jsonl [TEMPLATE NUMBER]  testdata/golden/chat/render.json
    chat.py ids TOKENIZER PREFS.jsonl                       testdata/golden/chat/ids.json

TEMPLATES is a directory of .jinja files. The rows are those of chat_cases.py and of PREFS.jsonl;
render keeps, for each template, digests of the three texts, or that transformers refuses the row.
With a template's name and a row's number it shows the texts themselves. ids keeps the digest of the
ids that DPOTrainer makes of PREFS.jsonl with the tokenizer's own template.
"""
import datetime
import json
import os
import pathlib
import sys

os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")
sys.path.insert(1, str(pathlib.Path(__file__).resolve().parent.parent))
import chat_cases
import ids
import ids_digest


def texts(row, template):
    """The three texts of a row, as DPOTrainer asks transformers for them, before tokenization."""
    from transformers.utils import chat_template_utils as chat
    arguments = {"tools": row.get("tools"), **row.get("chat_template_kwargs", {})}
    if isinstance(arguments["tools"], str):
        arguments["tools"] = json.loads(arguments["tools"])

    def render(messages, generation):
        normal = chat._normalize_chat_messages(messages)
        return chat.render_jinja_template([normal], chat_template=template, add_generation_prompt=generation,
                                          **{**chat_cases.TOKENS, **arguments})[0][0]
    return (render(row["prompt"], True), render(row["prompt"] + row["chosen"], False),
            render(row["prompt"] + row["rejected"], False))


def fix_clock():
    """Templates that ask for the date are told the date of the cases."""
    from transformers.utils import chat_template_utils as chat

    class Fixed(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls.fromisoformat(chat_cases.NOW)
    chat.datetime = Fixed


def outcome(row, template):
    import jinja2
    try:
        return chat_cases.digest(texts(row, template))
    except (jinja2.exceptions.TemplateError, TypeError, KeyError):
        return "refused"


def outcomes(rows, template):
    return chat_cases.fold([outcome(row, template) for row in rows])


def render(templates, prefs):
    rows = chat_cases.rows(prefs)
    entries = [f"{json.dumps(path.stem)}: {json.dumps(outcomes(rows, path.read_text()))}"
               for path in sorted(pathlib.Path(templates).glob("*.jinja"))]
    print("{\n" + ",\n".join(entries) + "\n}")


def trl_rows(tokenizer, prefs):
    """The pairs of DPOTrainer's own dataset."""
    yield from ids.trl_pairs(tokenizer, prefs, None)


def main():
    if len(sys.argv) < 4 or sys.argv[1] not in ("render", "ids"):
        sys.exit(__doc__)
    verb, first, prefs = sys.argv[1:4]
    if verb == "ids":
        print(json.dumps({"chat-demo": ids_digest.make(json.dumps(row) for row in trl_rows(first, prefs))}))
        return
    fix_clock()
    if len(sys.argv) == 6:
        template = (pathlib.Path(first) / (sys.argv[4] + ".jinja")).read_text()
        print("\n---\n".join(texts(chat_cases.rows(prefs)[int(sys.argv[5])], template)))
        return
    render(first, prefs)


if __name__ == "__main__":
    main()
