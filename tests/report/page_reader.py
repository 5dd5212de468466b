"""Read a page of a report as a browser does: tags, text, headings."""

from __future__ import annotations

import re
from html.parser import HTMLParser

EMPTY = {'img', 'meta', 'link', 'br', 'hr', 'input', 'path', 'rect'}


class Page(HTMLParser):
    """The tags of a page with their attributes, its text, and its headings."""

    def __init__(self, text):
        super().__init__()
        self.source, self.tags, self.open, self.words, self.headings = text, [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)
        if re.fullmatch('h[1-6]', tag):
            self.headings.append((int(tag[1]), ''))

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, f'</{tag}> closes nothing'
        assert self.open.pop() == tag, f'</{tag}> closes another tag'

    def handle_data(self, data):
        if self.open and self.open[-1] != 'style':
            self.words.append(data)
            if re.fullmatch('h[1-6]', self.open[-1]):
                level, words = self.headings[-1]
                self.headings[-1] = (level, words + data)

    @property
    def text(self):
        return re.sub(r'\s+', ' ', ' '.join(self.words))

    def images(self):
        return [attrs for tag, attrs in self.tags if tag == 'img']
