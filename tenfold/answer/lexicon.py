"""English words that a parser without a model must know: the closed classes, and frequent verbs and adjectives.

A part of speech is one letter; see `Tag`. A word that is in no list here is judged by its ending.
"""

from __future__ import annotations

import re
from functools import lru_cache

Tag = str
"""a part of speech

D determiner, # number, A adjective, N singular noun, M plural noun, P pronoun, I preposition, T the "to" of an infinitive,
X finite form of be, H finite form of have, U modal or form of do, Y infinite form of be or have, Z not, V base form of a verb,
B form of a verb in -s, F past tense, E past participle, G form in -ing, R adverb, C coordinating conjunction,
S subordinating conjunction, W relative pronoun
"""


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


_CLOSED: dict[str, str] = {
    "D": """a an the this that these those my your his her its our their each every all both some any no another such several
        many few most more much what which whose either neither""",
    "P": """i you he she it we they me him us them myself yourself itself himself herself ourselves themselves someone something
        anyone anything everyone everything nobody nothing this that these those all both some many few most more much one ones
        none others each there another""",
    "I": """of in on at by for with from into to about against between through during before after above below under over
        within without along across among around behind beside besides beyond per toward towards via like near onto upon
        inside outside than as until since despite except up down off out throughout underneath beneath unlike versus""",
    "X": """is are was were am isn't aren't wasn't weren't isnt arent wasnt werent it's that's there's he's she's they're we're
        you're i'm""",
    "H": "has have had hasn't haven't hadn't",
    "U": """will would shall should can could may might must cannot can't won't wouldn't shouldn't couldn't do does did don't
        doesn't didn't dont doesnt didnt cant wouldnt couldnt you'll we'll they'll it'll youll""",
    "Y": "be been being have having",
    "Z": "not never n't",
    "C": "and or but nor",
    "S": """if because when while although though unless whereas whether until since before after as once where how why so
        that what whenever wherever""",
    "W": "who whom which that whose where",
    "R": """very too also just only even still yet ever always often sometimes usually however therefore thus hence instead
        rather quite almost already perhaps maybe now then here there again soon together away back once twice else far up down
        out off over around about more most less least much well so enough long later ago apart ahead forward nearly mostly
        mainly such e.g i.e""",
    "#": """one two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty sixty seventy eighty ninety
        hundred thousand million billion trillion half""",
}
_CLOSED_COST: dict[tuple[str, str], float] = {
    ("that", "P"): 1.5, ("that", "S"): 0.4, ("there", "R"): 0.6, ("its", "P"): 9, ("have", "Y"): 0.5, ("what", "D"): 1.5,
    ("so", "S"): 0.7, ("such", "R"): 0.6, ("as", "S"): 0.8, ("more", "P"): 1.5, ("most", "P"): 0.8, ("much", "P"): 1.5, ("which", "D"): 1.5,
    ("up", "I"): 0.8, ("down", "I"): 0.8, ("out", "I"): 0.8, ("off", "I"): 0.8, ("about", "I"): 0.3, ("over", "R"): 0.8,
    ("around", "R"): 0.5, ("where", "W"): 0.6, ("another", "P"): 1, ("one", "P"): 0.6, ("half", "#"): 0.5, ("since", "I"): 0.4,
    ("once", "S"): 0.5, ("before", "S"): 0.3, ("after", "S"): 0.3, ("until", "S"): 0.3,
}  # fmt: skip

_VERBS = _listed(
    """accept achieve add adapt adjust affect agree allow appear apply arise arrive ask assume attach attract avoid balance become
    begin behave believe belong bind boil breathe bring build bury carry choose classify collect collide combine communicate
    compare compete compose condense conduct connect consider consist construct consume contain continue contribute convert
    create decide decompose decrease define depend deposit describe destroy detect determine develop die differ digest disappear
    discover dissolve distinguish divide eat eliminate emit enable enter erode erupt escape evaporate evolve examine exist
    expand explain expose extend fall feed feel find fit float follow freeze gain gather generate get give go grow happen hear
    heat help hold identify improve include increase indicate infer inhabit inherit inhale interact invent invest involve keep
    know lead learn leave let lie live locate lose maintain make mean measure melt migrate move multiply need observe obtain
    occupy occur orbit organize overcome participate perform pollute predict prefer prepare preserve prevent produce protect
    prove provide publish pull push put react read realize receive recognize recycle reduce reflect release rely remain
    remember remove repair repeat replace represent reproduce require resist respond rotate say see seem select sell send
    separate serve settle sink solve speak spend spread stand stay store suggest supply support surround survive swim take teach
    tell tend think throw transfer transmit transform transport travel try understand use vary vibrate wear weigh write wait
    want warm absorb bend blow breed burn catch control cool cover dissolve dry erase fly hunt hatch kill link lift pump rise
    roll run shine sing sit slide smell start stop strike taste touch warn absorb accumulate activate assist cease circulate cite
    compress conclude conserve contract cross defend deliver drain drill encourage ensure establish estimate excrete exert exhale
    expel explore fertilize filter harm harden ignore illustrate infect inject join last launch manage mate mine mix name occur
    offer originate oxidize pass penetrate plant pour propose reach refer refract regulate reject rub secrete sense shake share
    shrink sleep slow speed squeeze stick study submerge suffer swallow switch synthesize test trap turn watch win work call
    come divide do drop end face flow focus force form hit hang look play point raise rest rain result return scatter serve set
    settle shape show sound split stretch weather contain draw drive break change cause"""
)
_VERB_OR_NOUN = _listed(
    """balance need heat cool cover control change cause contact form force flow fall face end drop die cross contract break burn
    catch blow breed bend drill drain drive draw feed feel filter find fit float focus help hit hold hunt increase decrease
    influence impact join kill lead lift light link live look mate mean measure mine mix move name offer orbit pass plant play
    point process pull pump push rain raise reach release repair repeat rest result return rise roll rub run sense set shake
    shape share shine show sink sleep slide slow smell sound speed split spread stand start stay stick stop store stretch strike
    study supply support swim switch taste test think touch transfer transport trap travel try turn use wait want warm watch wear
    weather win work call cite deposit respect place rock rate range record report research trade season signal smoke snow storm
    stream surface tide time top water wave wind contrast experience function group harm limit mass match matter model nest note
    order part pattern plan question reason risk scale seed sign step structure vent vary view volume contribute attack decay
    damage design display exercise guess land layer mark state dry load lock map pressure produce project protest reflect sample
    house park power rule estimate ship farm fish air book branch bud crack curve fold shift score square type value"""
)
_NEVER_VERB = _listed(
    "rock time water air mass season surface book part pattern volume vary contribute respect house power"
)
_PAST = _listed(
    """went began became took knew saw gave grew ate froze broke wrote showed threw drove drew wore came ran rose fell flew sang
    sank swam spoke chose shook arose blew got forgot hid"""
)
_PARTICIPLE = _listed(
    """gone begun taken known seen given grown eaten frozen broken written shown thrown driven drawn worn risen fallen flown sung
    sunk swum spoken chosen shaken arisen blown gotten forgotten hidden done born torn"""
)
_PAST_AND_PARTICIPLE = _listed(
    """made found left kept held lost built brought bought caught taught thought felt fed led lit meant met paid said sent shot slid
    spent spun stood stuck struck swept told understood won wound bound bent bred dealt dug hung heard laid lay sold shone
    split spread put set cut hit burst become come used died tied aged"""
)
_ADJECTIVES = _listed(
    """able bad big black blue brief bright brown clean clear cold cool common complex dark dead deep dense different difficult dry
    due early easy empty entire equal extinct extreme false famous fast few fine first flat free fresh full good great green gray
    half hard harsh heavy high hot huge human icy kind large last late left light likely little liquid living long loose loud low
    main major mature minor moist molten more narrow near new next old only open opposite other outer inner own particular poor
    possible proper pure quick quiet rapid rare raw real red rich rigid rough round safe salty same second several shallow sharp
    short shiny silent similar simple single slow small smooth soft solid special specific stable steady steep strange strong
    sudden sweet tall thick thin third tight tiny total toxic true typical unique upper lower various vast visible warm weak wet
    white wide wild wrong yellow young certain modern complete separate useful alike alive aware mobile fertile acid adult warmer
    better best worse worst less least enough simple accurate accelerate appropriate renewable nonrenewable windy rainy cloudy
    sunny dusty rocky sandy muddy healthy ancient recent present distant frequent constant important excellent"""
)
_NOT_ADVERBS = _listed(
    "family supply fly early only likely friendly daily italy assembly anomaly jelly belly ally reply rely apply"
)
_NOUNS = _listed(
    """mineral animal metal crystal material signal coral current hospital journal capital festival canal terminal fossil individual
    music topic traffic plastic magic arctic mechanic forest interest harvest guest chest west nest pest city country energy body
    gravity electricity building thing spring morning evening hearing meaning beginning ceiling lightning"""
)
_NOUN_ENDING = re.compile(
    r"(?:[st]ion|ment|ness|ity|ism|ist|ology|ography|ance|ence|ship|hood|ure|dom|sphere|cy|age)s?$|(?:er|or)s?$"
)
_ADJECTIVE_ENDING = re.compile(r"\w{3}(?:al|ous|ful|ic|ive|less|able|ible|ary|ish|ular|like|tal)$")
_VERB_ENDING = re.compile(r"(?:ate|ize|ify)$")
_NUMBER = re.compile(r"[\d.,]+(?:st|nd|rd|th|%)?$|\d+-\w+$")

Candidates = tuple[tuple[Tag, float], ...]


def _closed_class() -> dict[str, dict[Tag, float]]:
    found: dict[str, dict[Tag, float]] = {}
    for tag, words in _CLOSED.items():
        for word in words.split():
            found.setdefault(word, {})[tag] = _CLOSED_COST.get((word, tag), 0.0)
    return found


_CLOSED_CLASS = _closed_class()


@lru_cache(maxsize=1 << 15)
def candidates(word: str) -> Candidates:
    """What a lower-case word can be, each with a cost of 0 (usual) or more; never empty."""
    known = _CLOSED_CLASS.get(word)
    if word == "to":
        return (("T", 0.0), ("I", 0.7))
    if known is not None:
        return tuple((known | _open_class_too(word)).items())
    if _NUMBER.match(word):
        return (("#", 0.0),)
    return tuple(_open_class(word).items())


def _open_class_too(word: str) -> dict[Tag, float]:
    """What words of the closed classes can be besides."""
    found = {"A": 0.3} if word in _ADJECTIVES else {}
    if word in ("have", "do", "like"):
        found["V"] = 0.4 if word != "like" else 1.5
    if word in ("has", "does"):
        found["B"] = 0.4
    if word in ("had", "did"):
        found["F"] = 0.4
    return found


def _open_class(word: str) -> dict[Tag, float]:
    if word.endswith("ly") and len(word) > 4 and word not in _NOT_ADVERBS:
        return {"R": 0.0, "A": 3.0}
    if word in _PAST:
        return {"F": 0.0, "E": 3.0}
    if word in _PARTICIPLE:
        return {"E": 0.0, "A": 1.0, "F": 4.0}
    if word in _PAST_AND_PARTICIPLE:
        return {"F": 0.1, "E": 0.3, "A": 1.5} | _base(word)
    if word in _NOUNS:
        return {"N": 0.0, "A": 1.2}
    if word.endswith("ing") and len(word) > 4 and re.search("[aeiouy]", word[:-3]):
        return {"G": 0.0, "N": 0.9, "A": 0.9}
    if word.endswith("ed") and len(word) > 4 and not word.endswith("eed"):
        return {"F": 0.2, "E": 0.0, "A": 1.0, "N": 4.0}
    if word.endswith(("'s", "s'")):
        return {"A": 0.0, "N": 2.0}
    if word.endswith("s") and not word.endswith(("ss", "us", "is", "ous")):
        return _with_s(word)
    return _base(word)


def _with_s(word: str) -> dict[Tag, float]:
    roots = [word[:-1]]
    if word.endswith("es"):
        roots += [word[:-2], word[:-3] + "y"]
    root = next((root for root in roots if root in _VERBS or root in _VERB_OR_NOUN), None)
    if root is None:
        return {"M": 0.0, "B": 0.5 if _VERB_ENDING.search(word[:-1]) else 2.4, "N": 2.0}
    if root not in _VERB_OR_NOUN:
        return {"B": 0.0, "M": 2.0}
    return {"M": 0.2, "B": 2.0 if root in _NEVER_VERB else 0.5}


def _base(word: str) -> dict[Tag, float]:
    found: dict[Tag, float] = {}
    if _is_adjective(word):
        found["A"] = 0.0
        found["N"] = 1.2
    if word in _VERB_OR_NOUN:
        found["V"] = 2.0 if word in _NEVER_VERB else 0.6
        found["N"] = 0.2
    elif word in _VERBS:
        found["V"] = 0.0
        found["N"] = 2.0
    if not found:
        is_noun = _NOUN_ENDING.search(word) is not None
        found = {"N": 0.0, "A": 2.5 if is_noun else 1.4, "V": 4.0 if is_noun else 2.6}
        if word.endswith(("est", "y")):
            found["A"] = 0.2 if word.endswith("est") else 0.8
        if _VERB_ENDING.search(word):
            found["V"] = 0.5
    return found


def _is_adjective(word: str) -> bool:
    if word in _ADJECTIVES or (_ADJECTIVE_ENDING.search(word) and word not in _VERBS):
        return True
    root = word.removesuffix("er")
    if root == word or len(root) < 3:
        return False
    return bool({root, root + "e", root[:-1], root[:-1] + "y"} & _ADJECTIVES)  # softer, larger, hotter, drier
