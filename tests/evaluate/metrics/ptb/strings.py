"""Strings for the tokeniser: generated ones full of what is hard to cut, and real English from installed packages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import distributions

from harness.evaluate.metrics.ptb import lexicon

from ..draw import Draw

SEED = 3_41

_WORDS = (
    "a the an man woman dog cat people are is was sitting standing riding horse street train white black red "
    "large small table with on in of near and food plate baseball player holding game bus sign clock tower "
    "kitchen room two three next to his her their its beach wave surfboard water snow skis Paris Boston Mary "
    "John building building's sidewalk outside front top umbrella luggage laptop pizza giraffe no yes it he she "
    "they plan street St Dr Mr etc"
)
_CONTRACTIONS = (
    "don't doesn't can't won't isn't ain't I'm you're he's she'll they've we'd it's that's who'd could've "
    "shouldn't've y'all ma'am o'clock O'Brien D'Angelo d'Artagnan l'amour jack-o'-lantern rock'n'roll 'em 'tis "
    "'twas 'til 'cause goin' dogs' '90s 90's '99 's n't 'n' ol' somethin' c'mon nor'easter li'l Hawai'i Qur'an "
    "e'er s'mores cont'd. Cap'n c'est DON'T Can't IT'S dont' isn`t isn’t it’s we’ll ’90s ’em O’Brien "
    "rock’n’roll ’til man’s &apos;em it&apos;s y’all"
)
_ABBREVIATIONS = (
    "U.S. U.K. U.S.A. a.m. p.m. A.M. i.e. e.g. Ph.D. J. R. R. Tolkien B. N.Y. D.C. t.v. T.V. w.r.t. No. 5 no. "
    "five pp. 3 p. 7 fig. 2 vol. 3 Jan. 5 Inc. Corp. Ltd. Co. Mr. Smith Mrs. Dr. St. Ave. vs. etc. et al. cf. "
    "Calif. Mass. mass. Ill. ill. Mt. ft. in. sq. approx. dept. U.S.-based anti-U.S. non-U.S. plan B. The Sen. "
    "Gov. Rev. Messrs. Pty. Pte. Mfg. MFG. Sept. Tues. art. 4 a.k.a. St.Louis Mr.Bean etc.and Inc.5"
)
_NUMBERS = (
    "1 2 10 100 1,000 1,000,000 3.5 .5 0.75 -5 +5 -3.14 5. 1:2 10:14 9:30 10:30pm 10am 5p.m. 12:00:00 1st 2nd "
    "3rd 21st 1960s 1980's 3D 2x4 4x4 1080p 5ft. 6'2\" 5'10 50% 100%. 3-4 10-20 2008-12-25 12/25/2008 12-25-08 "
    "3/4/2008 1/2 3/4 1 1/2 10 3/4 24/7 9/11 1\\/2 1⁄2 ½ 1½ ¼ ⅓ ⅔ ⅛ x² m³ H₂O 10⁻³ ²³ 5° 20°C 5×5 ± 1,234/5 "
    "1.5/2 1/2/3 5/6-inch 5-year-old 3.5-inch 10,000-ton F-16 747s A380 W3C 5.x 1.0.2 192.168.0.1 ٣٤ ٣٫٥ 1٬000 "
    "5s 5c #41 #1 No.5 p.5 555-1234 (555) 123-4567 1-800-555-1234 555.123.4567 555 555 1234 +44 20 7946 0958 "
    "(02)12345 12 34 1234 56789 10 000"
)
_MONEY = "$5 $5.00 US$5 $ 5 5$ A$10 £5 £ €4.50 ¥100 5¢ ¢ 99c $5-10 $1,000 $5m US$ us$5 HK$3 ₤5 ₹5 ¤"
_ADDRESSES = (
    "http://www.foo.com/bar?x=1&y=2 https://a.b/c. http://foo http://foo. HTTP://X.COM www.foo.com "
    "www.foo.co.uk. www.a.b/c?d foo.com foo.com. foo.org/bar, foo-bar.com foo_bar.com amazon.com's x.edu %a.com "
    "ftp://x.y me@foo.com me.you@a.b.co.uk. <me@foo.com> mailto:a@b.c a@b @user @user_name @ @5 #tag #snow2 "
    "#a_b ## c# C# C++ F# file.txt photo.jpg a.tar.gz report.PDF foo-1.py /usr/bin/x C:\\dir index.html?x .NET "
    "ASP.NET node.js"
)
_LINKED = (
    "well-known black-and-white T-shirt x-ray self-driving mid-80's pre- pro- anti-war Pro-x snow-covered- "
    "-clad -- --- ---- ----- - – — ― ‐ a‐b beach--kite on-line, hot-dog. and/or w/o w/ his/her km/h n/a a/b/c/d "
    "1/a either/or-not a\\/b snake_case _x_ __ x_1 co\xadop \xad AT&T R&D A&P Q&A rock&roll B&B. S&P-500 "
    "AT&amp;T A+B a+b ** f**k * \\* ~ ~5 ^ | || a=b == != <= => -> <- >> << <3 < > x<y"
)
_MARKS = (
    ". , ; : ! ? !! ?! ... .. .... ..... . . . … …. ' '' ''' \" ` `` ´ “ ” ‘ ’ „ ‚ « » ‹ › ( ) [ ] { } (a) [b] "
    "{c} () (two) (one red), -LRB- -lrb- :) :-) ;) :( :D :P =) :/ :o) :'( (-: ^_^ -_- (^_^) o_O xD ('-') . , ., "
    ".; ,. !. 、 。 • ● ★ → ✓ ♥ © ® ™ § ¶ † · µ"
)
_MARKUP = (
    "<b> </b> <br> <br/> <a href=\"x\"> <a href='x y'> <a href=x> <p class> <!-- x --> <!DOCTYPE html> <?xml?> "
    "<b>x</b>. &amp; &lt; &gt; &quot; &apos; &nbsp; &mdash; &ndash; &eacute; caf&eacute; &ntilde; &#39; &#8212; "
    "&#x27; &copy; &hellip; &odq; &UR; AT&T; &AMP; &Lt; a&b &"
)
_BEYOND_ASCII = (
    "café naïve Zoë São Łódź Ελλάδα ΟΔΟΣ Москва 東京 서울 日本語 עברית العربية हिन\u094dदी ไทย ﬁsh ß İstanbul ǅ "
    "e\u0301 a\u0300b 😀 👨\u200d👩\u200d👧 🇺🇸 𝐀𝐁 𠀀 a😀b x\u200by \ufeffx \x80 \x93a\x94 it\x92s \x96 a b 5 km "
    "a b ﷽ ‰ № ™ ℃ Ⅳ ① Ａ１！ ｡ ￡ \x01 \x7f"
)
_FUSED = "cannot gonna gotta lemme gimme wanna CANNOT Gonna cannot-do gonnas"
_RUN_ON = (
    'outside.The street.A dog.it\'s x.Y red.blue.green what?Yes no!stop a.b. end.) word."x" one,two one;two '
    "a:b x.-y 5.The"
)

_SEVERAL_WORDS = (
    *("plan B. The dog", "point a. A man", "J. R. R. Tolkien", "i. <b> x", "b.  Mr. X", "plan b. Then.", "the U.S. It"),
    *("No. 5", "no. five", "pp.  3", "Jan. 5", "Inc. <b> x", "Mr. The", "etc. The"),
    *(
        "1 1/2",
        "10 3/4",
        "1 2/3/4",
        "5 1/2-inch",
        "(555) 123-4567",
        "+44 20 7946 0958",
        "555 555 1234",
        "12 34 1234 56789",
    ),
    *(". . .", ". . . . . .", "a . . b", '<a href="x y">', "<!-- a b -->", "<p class = 'x'>", '<a b c="d" >'),
)


def _pieces(text: str) -> list[str]:
    return [piece for piece in text.split(" ") if piece]


KINDS: dict[str, list[str]] = {
    "words": _pieces(_WORDS),
    "contractions": _pieces(_CONTRACTIONS),
    "abbreviations": _pieces(_ABBREVIATIONS),
    "numbers": _pieces(_NUMBERS),
    "money": _pieces(_MONEY),
    "addresses": _pieces(_ADDRESSES),
    "linked": _pieces(_LINKED),
    "marks": _pieces(_MARKS),
    "markup": _pieces(_MARKUP),
    "beyond ASCII": _pieces(_BEYOND_ASCII),
    "fused": _pieces(_FUSED),
    "run-on": _pieces(_RUN_ON),
    "several words": list(_SEVERAL_WORDS),
}
_CHARACTERS = [chr(code) for code in range(0x20, 0x7F)]
_JOINTS = ["", "", " ", " ", " ", "  ", "\t", "-", "/", "'", ".", ". ", ", ", "\u00a0", " . ", '"', "’", "_", "--"]


def _respelled(draw: Draw, piece: str) -> str:
    kind = draw.below(12)
    if kind == 0:
        return piece.upper()
    if kind == 1:
        return piece.capitalize()
    if kind == 2:
        return piece.lower()
    return piece


def _sentence(draw: Draw) -> str:
    """A caption with a few hard pieces in it."""
    pieces = []
    for _ in range(2 + draw.below(8)):
        kind = "words" if draw.chance(0.65) else draw.one(list(KINDS))
        pieces.append(_respelled(draw, draw.one(KINDS[kind])))
    text = " ".join(pieces) if draw.chance(0.8) else "".join(piece + draw.one(_JOINTS) for piece in pieces)
    return text + draw.one(("", ".", ".", " .", "!", "...", '."', ".)", "\u00a0", ". "))


def _crowd(draw: Draw) -> str:
    """Hard pieces side by side, with and without something between them."""
    text = ""
    for _ in range(1 + draw.below(5)):
        text += _respelled(draw, draw.one(KINDS[draw.one(list(KINDS))])) + draw.one(_JOINTS)
    return text


def _abbreviation(draw: Draw) -> str:
    """A word of the lexicon before a full stop, in any spelling, and before anything."""
    words = (
        f"{lexicon.CLOSING} {lexicon.CLOSING_CAPITALISED} {lexicon.TITLES} {lexicon.NUMBERED} x i b foo lake".split()
    )
    word = _respelled(draw, draw.one(words))
    after = draw.one(
        ("", " ", " The man", " the man", " A dog", " X", "x", "5", " 5", ",", ")", "-x", "..", " <b> x", "'s", "\t")
    )
    return f"{draw.one(('', '', 'the ', '(', 'x'))}{word}.{after}"


def _apostrophe(draw: Draw) -> str:
    """A word with an apostrophe of some form at some place."""
    letters = "aeiouyAEOsStTnNdDlLmrvbBKxz"
    word = "".join(draw.one(letters) for _ in range(1 + draw.below(6)))
    place = draw.below(len(word) + 1)
    return (
        word[:place]
        + draw.one(("'", "'", "’", "`", "‘", "&apos;", "''"))
        + word[place:]
        + draw.one(("", " x", ".", ",", "'"))
    )


def _digits(draw: Draw) -> str:
    """Digits and what binds them: dates, fractions, telephone numbers and what is none of these."""
    text = ""
    for _ in range(1 + draw.below(7)):
        text += "".join(draw.one("0123456789") for _ in range(1 + draw.below(5)))
        text += draw.one(("", " ", "-", "/", ".", ",", ":", "+", "x", "%", "(", ") ", "th", "-year", "\u00a0"))
    return draw.one(("", "", "(", "+", "-", "$", "#", "'")) + text


def _noise(draw: Draw) -> str:
    """Printable characters in a row."""
    return "".join(draw.one(_CHARACTERS) for _ in range(1 + draw.below(12)))


MAKERS: tuple[Callable[[Draw], str], ...] = (
    _sentence,
    _sentence,
    _sentence,
    _crowd,
    _abbreviation,
    _apostrophe,
    _digits,
    _noise,
)


def generated(number: int, seed: int = SEED) -> list[str]:
    """``number`` different strings."""
    draw = Draw(seed)
    found: dict[str, None] = {}
    while len(found) < number:
        found[MAKERS[len(found) % len(MAKERS)](draw)] = None
    return list(found)


def documentation() -> Iterator[str]:
    """Lines of English (and of code) from the descriptions of installed packages, each once."""
    seen: set[str] = set()
    for distribution in sorted(distributions(), key=lambda each: each.metadata["Name"] or ""):
        for line in (distribution.read_text("METADATA") or "").splitlines():
            line = line.strip()
            if 20 <= len(line) <= 300 and line not in seen and not set(line) & set("\r\x0b\x0c\u2028\u2029"):
                seen.add(line)
                yield line
