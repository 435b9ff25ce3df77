"""Text cut into sentences and words, and words compared: by their stems, and without those that carry no meaning.

Sentences and words are found in text of any language; stems and stop words are English, and leave other languages as they are.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from unicodedata import category

_FUNCTION_WORDS = """
    a an the this that these those such same each every all both either neither some any no none other another more most many
    much few fewer less least several own enough
    i me my mine myself we us our ours ourselves you your yours yourself yourselves he him his himself she her hers herself it
    its itself they them their theirs themselves one ones who whom whose which what whichever whatever whoever
    someone something anyone anything everyone everything nobody nothing
    am is are was were be been being do does did doing done have has had having will would shall should can could may might
    must ought cannot can't don't doesn't didn't isn't aren't wasn't weren't won't wouldn't couldn't shouldn't hasn't haven't
    hadn't it's that's there's they're we're you're i'm he's she's let's
    not nor and or but if then else because as until while although though unless whereas since so than whether
    of at by for with about against between into through during before after above below to from up down in out on off over
    under upon within without along across among around behind beside besides beyond per toward towards via like near onto
    again further once here there when where why how very too also just only even still yet ever never always often sometimes
    usually however therefore thus hence instead rather quite almost already perhaps maybe now e.g i.e etc vs
"""
STOP_WORDS: frozenset[str] = frozenset(_FUNCTION_WORDS.split())
"""function words of English, lower case: they are in every paragraph, so that sharing one with a question says nothing"""


class Word(NamedTuple):
    """A word of a sentence, and where it stands: `sentence[start:end]` is it, before it was made lower case."""

    text: str
    start: int
    end: int


_NEVER_LAST = (
    "mr mrs ms dr prof st sr jr vs fig figs no nos vol ch sec eq eqs approx ca cf e.g i.e al viz gen col lt sgt rev"
)
_ABBREVIATIONS = frozenset(_NEVER_LAST.split())
_CLOSING = "\"'\u2019\u201d\u00bb)\\]"
_SENTENCE_END = re.compile(
    rf"[.!?\u2026]+[{_CLOSING}]*(?=\s|$)"
    r"|(?<=[a-z]{2})[.!?](?=[A-Z][a-z]*[ ,])"  # the space after a full stop is forgotten often
    rf"|[\u3002\uff01\uff1f]+[\u300d\u300f\uff09{_CLOSING}]*"
)
_BREAK = re.compile(r"\n\s*\n|[\u2028\u2029]")
_LAST_WORD = re.compile(r"[^\W\d_]+(?:\.[^\W\d_]+)*$")
_BEFORE_INITIAL = re.compile(r"(?:^|\.|\b(?:by|and|of))\s*$")
_NEXT = re.compile(r"\s+[\"'\u2018\u201c\u00ab(\[]*(\w?)")

_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_JOINT = "[-\u2010\u2011'\u2019\u00ad\u200c\u200d]"
_LETTERS = rf"[^\W_{_UNSPACED}]+"
_WORD = re.compile(
    rf"[{_UNSPACED}]"  # in a script without spaces each sign is a word
    r"|[^\W\d_](?:\.[^\W\d_])+(?![^\W_])"  # u.s, e.g
    rf"|{_LETTERS}(?:(?:{_JOINT}|(?<=\d)[.,](?=\d)){_LETTERS})*"
)
_PLAIN = str.maketrans({"\u2010": "-", "\u2011": "-", "\u2019": "'", "\u00ad": None})


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, in order, each without the space around it and on one line; none is empty.

    A sentence ends at a full stop, question mark or exclamation mark before a space or the end, unless the stop belongs to an
    abbreviation or an initial, or a small letter follows in a text that has capitals; and at an empty line.
    """
    found = (_collapse(part) for block in _BREAK.split(text) for part in _sentences_of(block))
    return [sentence for sentence in found if sentence]


def split_words(sentence: str) -> list[Word]:
    """The words of a sentence, in order. Marks of punctuation are dropped; numbers such as 1,000.5 and words with a hyphen or an
    apostrophe inside are kept as one. Typographic apostrophes and hyphens become plain ones in `text`.
    """
    shown = sentence if sentence.isascii() else _letters_for_marks(sentence)
    return [
        Word(sentence[match.start() : match.end()].translate(_PLAIN).lower(), match.start(), match.end())
        for match in _WORD.finditer(shown)
    ]


@lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """What the forms of an English word have in common, for comparing words: "layers" -> "layer", "moving" -> "move".

    Plurals, -ed, -ing and 's are taken off, and a final e where one may have been lost before them ("produce", "producing" ->
    "produc"). Comparatives, prefixes and other endings stay. Takes lower case; a word of other letters than a to z stays.
    """
    word = word.removesuffix("'s").removesuffix("'")
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) < 3 or not word.isascii() or not word.isalpha():
        return word
    return _without_final_e(_without_tense(_singular(word)))


def _collapse(text: str) -> str:
    return " ".join(text.split())


def _sentences_of(block: str) -> list[str]:
    parts, start = [], 0
    for match in _SENTENCE_END.finditer(block):
        if _ends_sentence(block, match):
            parts.append(block[start : match.end()])
            start = match.end()
    parts.append(block[start:])
    return parts


def _ends_sentence(block: str, match: re.Match[str]) -> bool:
    follows = _NEXT.match(block, match.end())
    if follows is None:
        return True
    if follows[1].islower() and not block.islower():  # a text without capitals has none to go by
        return False
    if not match[0].startswith(".") or match[0].count(".") > 1:
        return True
    last = _LAST_WORD.search(block, max(0, match.start() - 24), match.start())
    if last is None or last[0].lower() in _ABBREVIATIONS:
        return last is None
    is_letter = len(last[0]) == 1 and last[0].isupper()
    return not (is_letter and _BEFORE_INITIAL.search(block, 0, last.start()))


def _letters_for_marks(sentence: str) -> str:
    """The same with a letter for every combining mark, which `re` takes for no part of a word."""
    return "".join("a" if category(letter)[0] == "M" else letter for letter in sentence)


_IRREGULAR = {
    "gases": "gas", "leaves": "leaf", "lives": "life", "halves": "half", "wolves": "wolf", "shelves": "shelf", "feet": "foot",
    "teeth": "tooth", "mice": "mouse", "men": "man", "women": "woman", "children": "child", "bacteria": "bacterium",
    "fungi": "fungus", "nuclei": "nucleus", "strata": "stratum", "mitochondria": "mitochondrion", "phenomena": "phenomenon",
    "hypotheses": "hypothesis", "analyses": "analysis", "axes": "axis", "does": "do", "goes": "go", "species": "species",
    "series": "series", "lens": "lens", "lenses": "lens", "dying": "die", "lying": "lie", "tying": "tie",
}  # fmt: skip
_VOWEL = re.compile(r"[aeiou]|(?<=[^aeiou])y")
_VOWELS_THEN_OTHERS = re.compile(r"(?:[aeiou]|(?<=[^aeiou])y)+(?:[^aeiouy]|(?<=[aeiou])y)+")
_SHORT = re.compile(r"^[^aeiou]*[aeiouy][^aeiouwxy]$")


def _singular(word: str) -> str:
    if word.endswith(("ies", "ied", "ie")):
        return word[: word.rindex("ie")] + "y" if len(word) > 4 else word.rstrip("sd")
    if word.endswith(("sses", "xes", "ches", "shes", "zzes")) or (word.endswith("uses") and len(word) > 6):
        return word[:-2]
    if word.endswith("ae") and len(word) > 4:
        return word[:-1]
    if word.endswith("s") and len(word) > 3 and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _without_tense(word: str) -> str:
    ending = next((ending for ending in ("ed", "ing") if word.endswith(ending)), None)
    if ending is None or word.endswith("eed"):
        return word
    rest = word.removesuffix(ending)
    if len(rest) < 2 or not _VOWEL.search(rest):
        return word
    if len(rest) > 3 and rest[-1] == rest[-2] and rest[-1] not in "aeioulsz":
        return rest[:-1]
    return rest + "e" if rest.endswith(("at", "bl", "iz")) or _SHORT.match(rest) else rest


def _without_final_e(word: str) -> str:
    if not word.endswith("e"):
        return word
    rest = word[:-1]
    syllables = len(_VOWELS_THEN_OTHERS.findall(rest))
    return rest if syllables > 1 or (syllables == 1 and not _SHORT.match(rest)) else word
