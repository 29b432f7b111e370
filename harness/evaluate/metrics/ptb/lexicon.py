"""Words that decide where the tokeniser cuts.

Found by asking the Java program: every string of up to four letters, every capitalised one of five, and a quarter of
a million longer words from documentation were put before a full stop, and each hit was tried in all its spellings.
Unless noted, a word counts in either case.
"""

from __future__ import annotations

# Keep their full stop whatever follows ("etc.", "Inc.", "Jan.").
CLOSING = (
    "al ala apr ariz assn aug bhd bldg blvd bros calif co colo conn corp cos ct dak dec esq est etc ext feb fla "
    "fri ga inc ind intl jan jr jul jun kan kans ky ltd mar md mich minn mo mon mont neb nev nov oct okla penn "
    "plc rd rt sep sept seq sq sr sys tel tenn thu thurs tue tues univ va vt wed wis wisc wyo"
)
# The same, but only with a capital first letter: in lower case they are ordinary words.
CLOSING_CAPITALISED = "Ark Az Del Ill La Mass Miss Ore Pa Tex Wash"

# Keep their full stop unless a letter follows it directly ("Mr.", "Lt.", "vs.").
TITLES = (
    "adj adm adv alex asst assoc atty attys ave brig capt cf cie cmdr col comdr cpl dept det dr drs elec ens ft "
    "gen gov govs hon insp invt jos lieut lt maj messrs mlle mme mr mrs ms msgr mt natl pfc ph pres prof profs "
    "pvt rep reps rev sen sens sfc sgt spc st ste supt supts treas vs wm"
)

# Keep their full stop before a number ("No. 5", "pp. 3").
NUMBERED = "art ca fig figs no nos op p pp prop"

# After a single letter and a full stop, one of these begins a new sentence: "plan B. The" against "J. Smith".
SENTENCE_OPENERS = (
    "A About After An As At But Earlier He Her Here However If In It Last Many More Now Once One Other Our She "
    "Since So Some Such That The Their Then There These They This We What When While Yet You"
)

# Written as one word, read as two: (first, second).
FUSED = (("can", "not"), ("gon", "na"), ("got", "ta"), ("lem", "me"), ("gim", "me"), ("wan", "na"))

# Endings that make "NAME.ENDING" the name of a file.
FILE_ENDINGS = (
    "bat bmp c cgi class cpp dll doc docx exe gif gz h htm html jar java jpeg jpg mov mp3 pdf php pl png ppt ps "
    "py sql tar txt wav x xml zip"
)

TOP_LEVEL_DOMAINS = "com net org edu"

BRACKET_NAMES = "LRB RRB LCB RCB LSB RSB"
