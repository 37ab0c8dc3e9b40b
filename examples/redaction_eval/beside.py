"""How fast Presidio's patterns go over the texts that `redaction_eval -- --speed FILE` goes over.

Without a language model, which is most of its cost: it finds no names then. Runs once over the texts, after one that warms
it up, and prints one line like that of `redaction_eval`.
"""

import json
import logging
import sys
import time

import spacy
from presidio_analyzer import AnalyzerEngine
from presidio_analyzer.nlp_engine import SpacyNlpEngine

# It asks the network for a list of domains, and goes on without.
logging.disable(logging.CRITICAL)


class Blank(SpacyNlpEngine):
    """Cuts texts into words and does nothing else."""

    def __init__(self):
        super().__init__()
        self.nlp = {"en": spacy.blank("en")}

    def load(self):
        """There is nothing to load."""


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        texts = [labelled["full_text"] for labelled in json.load(file)]
    analyzer = AnalyzerEngine(nlp_engine=Blank(), supported_languages=["en"])
    analyzer.analyze(texts[0], "en")
    start = time.perf_counter()
    for text in texts:
        analyzer.analyze(text, "en")
    taken = time.perf_counter() - start
    size = sum(len(text.encode()) for text in texts)
    print(f"{size / 1e6 / taken:.3f} MB/s: {size} bytes in {len(texts)} texts")


if __name__ == "__main__":
    main()
