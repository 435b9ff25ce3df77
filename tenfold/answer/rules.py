"""A dependency parser for English that needs no model: tags, then phrases, then rules for what depends on what. Ours.

Determiners, adjectives and nouns before a noun depend on it; a preposition on what it belongs to, and its noun on it; subjects,
objects, auxiliaries and adverbs on their verb; the second of two things joined by a conjunction, and the conjunction, on the
first; the verb of a subordinate clause on the verb, and that of a relative clause on the noun, that it tells more about.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from .lexicon import Tag
from .parsing import Parse, parse_of
from .phrases import Phrase, PhraseKind, links_within, phrases
from .tagging import tag_words
from .words import Word, split_words

_MARK = re.compile(r"[^\s'\"\u2018\u2019\u201c\u201d]")
_OF_NOUNS = frozenset(["of", "between", "among", "than", "per"])
"""prepositions that belong to a noun, if one is before them"""
_BEFORE_PREPOSITIONS = frozenset(["such", "only", "just", "even", "especially", "mainly", "mostly"])
"""words that belong to a preposition, if one is after them"""


class RuleParser:
    """Parses English by rules, some ten thousand words a second. Each parse is a tree; any text at all gets one."""

    name = "rules"

    def __call__(self, sentences: Sequence[str]) -> list[Parse]:
        """One parse for each sentence, in their order."""
        return [self._parse(sentence) for sentence in sentences]

    def _parse(self, sentence: str) -> Parse:
        words = split_words(sentence)
        if not words:
            return Parse((), ())
        texts, breaks = [word.text for word in words], _breaks(sentence, words)
        tags = tag_words(texts, breaks)
        return parse_of(texts, _Reader(texts, tags, list(phrases(tags, breaks))).read().items())


def _breaks(sentence: str, words: Sequence[Word]) -> list[bool]:
    """Whether a mark of punctuation stands before each word."""
    ends = [0, *(word.end for word in words)]
    return [_MARK.search(sentence, end, word.start) is not None for end, word in zip(ends, words, strict=False)]


@dataclass
class _Clause:
    """A clause that is being read."""

    owner: int | None = None
    """what its verb will depend on; None in the main clause, and where that is not read yet"""
    subject: int | None = None
    verb: int | None = None
    active: int | None = None
    """the last verb or participle: objects and prepositions depend on it"""
    waiting: list[int] = field(default_factory=list)
    """words that depend on the verb, which is not read yet"""


class _Reader:
    """Reads the phrases of one sentence from left to right and finds the head of each word."""

    def __init__(self, words: Sequence[str], tags: Sequence[Tag], found: Sequence[Phrase]) -> None:
        self.words, self.tags, self.phrases = words, tags, found
        self.heads: dict[int, int] = {}
        self.clauses = [_Clause()]
        self.preposition: int | None = None
        """one whose noun is not read yet"""
        self.conjunction: int | None = None
        """one whose second part is not read yet"""
        self.last: dict[PhraseKind, int] = {}
        """head of the last phrase of a kind that something can be joined to"""

    def read(self) -> dict[int, int]:
        """The head of each word that has one; no word is above itself."""
        for place, phrase in enumerate(self.phrases):
            for word, head in links_within(phrase, self.words, self.tags):
                self._attach(word, head)
            getattr(self, f"_{phrase.kind}")(place, phrase)
        if self.conjunction is not None:
            self._attach(self.conjunction, self._clause.active)
        self._close_to(-1)
        return self.heads

    @property
    def _clause(self) -> _Clause:
        return self.clauses[-1]

    def _before(self, place: int) -> PhraseKind | None:
        """The kind of the phrase before this one, not counting what belongs to a preposition."""
        while place and self.words[self.phrases[place - 1].head] in _BEFORE_PREPOSITIONS:
            place -= 1
        return self.phrases[place - 1].kind if place else None

    def _verb_follows(self, place: int) -> bool:
        """Whether a finite verb comes next, after participles, prepositions with their nouns, and adverbs."""
        place += 1
        while place < len(self.phrases) and self.phrases[place].kind in ("adverb", "participle", "preposition"):
            is_pair = self.phrases[place].kind == "preposition" and self.phrases[place + 1 : place + 2]
            place += 2 if is_pair and self.phrases[place + 1].kind == "noun" else 1
        return place < len(self.phrases) and self.phrases[place].kind == "verb"

    def _attach(self, word: int, head: int | None) -> None:
        """Make `head` the head, unless that closes a ring; where there is none yet, the word waits for its clause's verb."""
        if head is None:
            self._clause.waiting.append(word)
            return
        above: int | None = head
        while above is not None:
            if above == word:
                return
            above = self.heads.get(above)
        self.heads.setdefault(word, head)

    def _join(self, second: int, first: int) -> None:
        """Two things joined by the conjunction."""
        self._attach(second, first)
        if self.conjunction is not None:
            self._attach(self.conjunction, first)
            self.conjunction = None

    def _release(self, clause: _Clause) -> int | None:
        """Give what waits for the clause's verb to it, or to what comes nearest to a verb, which is returned."""
        nearest = [word for word in (clause.verb, clause.active, clause.subject, *clause.waiting) if word is not None]
        for word in clause.waiting:
            if word != nearest[0]:
                self._attach(word, nearest[0])
        clause.waiting.clear()
        return nearest[0] if nearest else None

    # a method for each kind of phrase

    def _noun(self, place: int, phrase: Phrase) -> None:
        noun, before, clause = phrase.head, self.last.get("noun"), self._clause
        is_next_to_noun = self._before(place) == "noun" and before is not None
        if self.preposition is not None:
            self._attach(noun, self.preposition)
        elif self.conjunction is not None and before is not None and not self._begins_clause(place):
            self._join(noun, before)
        elif phrase.after_mark and is_next_to_noun and self._goes_on(place):
            self._attach(noun, before)
        elif self._begins_clause(place):
            self._begin_clause(noun)
        elif is_next_to_noun and clause.active is None and clause.subject is not None:
            if self._verb_follows(place):  # "the planet we live on"
                self.clauses.append(_Clause(owner=before, subject=noun))
            else:
                self._attach(noun, before)
        elif clause.active is not None and not (clause.verb is None and phrase.after_mark):
            self._attach(noun, clause.active)
        elif clause.subject is None:
            clause.subject = noun
            clause.active = None
        else:
            self._attach(noun, clause.subject)
        self.preposition = None
        self.last.pop("adjective", None)
        self.last["noun"] = noun

    def _goes_on(self, place: int) -> bool:
        """Whether a noun after a comma is the next of a list, or another name of the noun before."""
        clause = self._clause
        return clause.subject is not None if clause.verb is None else not self._verb_follows(place)

    def _begins_clause(self, place: int) -> bool:
        """Whether a noun is the subject of a new clause, since this one has its verb and another comes.

        The other is that of the clause around this one, where that has a subject and no verb: "ice that covers land melts".
        """
        outer = self._without_verb()
        is_awaited = outer is not None and self.clauses[outer].subject is not None and self.conjunction is None
        return self._clause.verb is not None and not is_awaited and self._verb_follows(place)

    def _without_verb(self) -> int | None:
        """The place of the innermost clause that has no verb yet."""
        return next((at for at in range(len(self.clauses) - 1, -1, -1) if self.clauses[at].verb is None), None)

    def _begin_clause(self, subject: int) -> None:
        """Of a noun that is the subject of a new clause: one joined to this, or the one around this, or the verb's object."""
        done = self._clause
        if self.conjunction is not None:
            self._attach(self.conjunction, done.verb)
            self.conjunction = None
            self.clauses.append(_Clause(owner=done.verb, subject=subject))
            return
        outer = self._without_verb()
        if outer is not None and self.clauses[outer].subject is None:
            self._close_to(outer)
            self._clause.subject = subject
        else:
            self.clauses.append(_Clause(owner=done.active, subject=subject))

    def _close_to(self, outer: int) -> None:
        """End the clauses inside of this one; one without a verb depends on its owner as it is."""
        for clause in self.clauses[outer + 1 :]:
            nearest = self._release(clause)
            if clause.verb is None and clause.owner is not None and nearest is not None:
                self._attach(nearest, clause.owner)
        del self.clauses[outer + 1 :]

    def _verb(self, place: int, phrase: Phrase) -> None:
        verb, clause = phrase.head, self._clause
        if self.conjunction is not None and clause.verb is not None:
            self._join(verb, clause.verb)
            self._goes_on_with(verb)
            return
        if clause.verb is not None:
            outer = self._without_verb()
            if outer is None:
                self._attach(verb, clause.active)
                self._goes_on_with(verb)
                return
            self._close_to(outer)
            clause = self._clause
        clause.verb = verb
        if clause.subject is not None:
            self._attach(clause.subject, verb)
        self._release(clause)
        if clause.owner is not None:
            self._attach(verb, clause.owner)
        elif len(self.clauses) > 1:
            self.clauses[-2].waiting.append(verb)
        self._goes_on_with(verb)

    def _goes_on_with(self, verb: int) -> None:
        """What comes next depends on this verb."""
        self._clause.active = verb
        self.preposition = None
        self.last = {"verb": verb}

    def _participle(self, place: int, phrase: Phrase) -> None:
        verb, clause, noun = phrase.head, self._clause, self.last.get("noun")
        if self.preposition is not None:
            self._attach(verb, self.preposition)
        elif self.conjunction is not None and clause.active is not None:
            self._join(verb, clause.active)
        elif self._before(place) in ("opener", "relative"):
            self._verb(place, phrase)
            return
        elif noun is not None and self._before(place) == "noun" and not phrase.after_mark:
            self._attach(verb, noun)
        elif clause.active is not None:
            self._attach(verb, clause.active)
        elif clause.subject is None:
            clause.subject = verb
        else:
            self._attach(verb, clause.subject)
        self._goes_on_with(verb)

    def _infinitive(self, place: int, phrase: Phrase) -> None:
        verb, clause = phrase.head, self._clause
        if self.conjunction is not None and clause.active is not None:
            self._join(verb, clause.active)
        elif self._before(place) == "adjective":
            self._attach(verb, self.last.get("adjective"))
        elif clause.active is not None:
            self._attach(verb, clause.active)
        elif "noun" in self.last:
            self._attach(verb, self.last["noun"])
        else:
            self._attach(verb, None)
        self._goes_on_with(verb)

    def _adjective(self, place: int, phrase: Phrase) -> None:
        before, clause = self.last.get("adjective"), self._clause
        if self.preposition is not None:
            self._attach(phrase.head, self.preposition)
            self.preposition = None
        elif before is not None and (self.conjunction is not None or phrase.after_mark):
            self._join(phrase.head, before)
        else:
            self._attach(phrase.head, self.last.get("noun") if clause.active is None else clause.active)
        self.last["adjective"] = phrase.head

    def _preposition(self, place: int, phrase: Phrase) -> None:
        before = self.last.get("preposition")
        if self.preposition is not None:
            self._attach(phrase.head, self.preposition)
        elif self.conjunction is not None and before is not None:
            self._join(phrase.head, before)
        else:
            self._attach(phrase.head, self._owner_of_preposition(place, phrase))
        self.preposition = self.last["preposition"] = phrase.head

    def _owner_of_preposition(self, place: int, phrase: Phrase) -> int | None:
        noun, active = self.last.get("noun"), self._clause.active
        if self._before(place) == "adjective":
            return self.last["adjective"]
        if noun is None or active is None or self._before(place) != "noun":
            return noun if active is None and self._before(place) == "noun" else active
        is_complement = self.heads.get(noun) == active and self.tags[active] in "XHY"
        return noun if is_complement or self.words[phrase.head] in _OF_NOUNS else active

    def _opener(self, place: int, phrase: Phrase) -> None:
        clause = self._clause
        owner = clause.active
        if owner is None and clause.subject is not None:
            owner = self.last.get("noun")
        waiting = [phrase.head] + ([self.conjunction] if self.conjunction is not None else [])
        self.clauses.append(_Clause(owner=owner, waiting=waiting))
        self.conjunction = self.preposition = None
        self.last = {}

    def _relative(self, place: int, phrase: Phrase) -> None:
        noun = self.last.get("noun")
        if self.preposition is not None and noun is not None:  # "the layer in which it forms"
            self._attach(phrase.head, self.preposition)
            self.clauses.append(_Clause(owner=noun))
            self.preposition = None
        elif noun is not None:
            self.clauses.append(_Clause(owner=noun, waiting=[phrase.head]))
        elif self._clause.subject is None and self._clause.verb is None:  # a question's
            self._clause.subject = self.last["noun"] = phrase.head
        else:
            self._opener(place, phrase)

    def _conjunction(self, place: int, phrase: Phrase) -> None:
        if self.conjunction is not None:
            self._attach(self.conjunction, phrase.head)
        if place == 0:
            self._attach(phrase.head, None)
        else:
            self.conjunction = phrase.head

    def _adverb(self, place: int, phrase: Phrase) -> None:
        follows = self.phrases[place + 1] if place + 1 < len(self.phrases) else None
        if follows and follows.kind == "preposition" and self.words[phrase.head] in _BEFORE_PREPOSITIONS:
            self._attach(phrase.head, follows.head)
        else:
            self._attach(phrase.head, self._clause.active)
