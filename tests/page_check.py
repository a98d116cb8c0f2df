#!/usr/bin/env python3
"""page_check.py PAGE.html [TEXT...] - is a page whole in itself, well formed and inert; does it say each TEXT?

Well formed: every element is closed in its order, ids are unique, what is referred to is there. Whole: nothing is loaded
from anywhere, every picture lies in the page and has a size and curves. Inert: no script, no handler, no form, no frame.
Exit 1 with the first fault.
"""
import html.parser
import re
import sys

VOID = {"meta", "br", "wbr", "img", "link", "base", "input", "hr", "source", "embed", "area", "col", "track"}
FORBIDDEN = {"script", "link", "base", "iframe", "frame", "object", "embed", "form", "input", "audio", "video", "source",
             "foreignobject", "animate", "set", "image", "applet", "template", "noscript"}
REFERENCES = {"href", "src", "srcset", "xlink:href", "action", "formaction", "poster", "data", "ping", "background", "manifest"}


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.ids, self.wanted, self.words, self.pictures, self.style = [], set(), set(), [], [], ""
        self.names = set()

    def fail(self, what):
        sys.exit(f"line {self.getpos()[0]}: {what}")

    def handle_decl(self, decl):
        if decl.lower() != "doctype html" or self.names:
            self.fail(f"declaration {decl}")

    def unknown_decl(self, data):
        self.fail(f"declaration {data}")

    def handle_pi(self, data):
        self.fail(f"processing instruction {data}")

    def handle_comment(self, data):
        self.fail(f"comment {data}")

    def handle_starttag(self, tag, attrs):
        self.check(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        if "svg" not in self.open and tag not in VOID:
            self.fail(f"<{tag}/> closes itself outside a picture")
        self.check(tag, attrs)

    def check(self, tag, attrs):
        self.names.add(tag)
        if tag in FORBIDDEN:
            self.fail(f"<{tag}>")
        keys = [key for key, value in attrs]
        if len(keys) != len(set(keys)):
            self.fail(f"<{tag}> has an attribute twice")
        for key, value in attrs:
            self.check_attribute(tag, key, value or "")
        if tag == "svg":
            self.check_picture(dict(attrs))
        if "svg" in self.open and tag in ("path", "use"):
            self.pictures[-1] += 1

    def check_attribute(self, tag, key, value):
        if key.startswith("on"):
            self.fail(f"handler {key}")
        if key in REFERENCES:
            if not re.fullmatch(r"#[\w-]+|data:image/[a-z+]+;base64,[A-Za-z0-9+/=]+", value):
                self.fail(f"<{tag} {key}={value}> leads out of the page")
            self.wanted.add(value[1:])
        if key == "id":
            if value in self.ids:
                self.fail(f"id {value} twice")
            self.ids.add(value)
        if key in ("aria-labelledby", "aria-describedby", "for"):
            self.wanted.update(value.split())
        if key == "http-equiv" and value != "Content-Security-Policy":
            self.fail(f"http-equiv {value}")
        for target in re.findall(r"url\(([^)]*)", value):
            if not target.startswith("#"):
                self.fail(f"url({target})")
            self.wanted.add(target[1:])

    def check_picture(self, attrs):
        box = re.fullmatch(r"0 0 (\d+) (\d+)", attrs.get("viewbox", ""))
        if not box or "0" in box.groups() or not attrs.get("aria-label"):
            self.fail("a picture without size or label")
        self.pictures.append(0)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.fail(f"</{tag}> closes something else")

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            self.style += data
        else:
            self.words.append(data)


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        source = file.read()
    page = Page()
    if re.search(r"[\0-\x08\x0b\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff]", source):
        sys.exit("a character that HTML has not")
    page.feed(source)
    page.close()
    if page.open:
        sys.exit(f"<{page.open[-1]}> is not closed")
    if page.wanted - page.ids:
        sys.exit(f"nothing is called {sorted(page.wanted - page.ids)[0]}")
    if re.search(r"url\(|@import|expression|javascript:", page.style):
        sys.exit("the style leads out of the page")
    if not page.pictures or min(page.pictures) < 3:
        sys.exit("a picture without curves")
    for name in ("html", "head", "title", "main", "h1"):
        if name not in page.names:
            sys.exit(f"no <{name}>")
    words = re.sub(r"\s+", " ", "".join(page.words))
    for text in sys.argv[2:]:
        if text not in words:
            sys.exit(f"the page does not say: {text}")
    print(f"{len(page.pictures)} pictures, {len(page.ids)} ids")


main()
