"""Words that carry no facts, by part of speech. Every singular noun takes "a", not "an"."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    """Space-separated nouns with their plurals: `man/men`, `box+es`, and plain `king` for the regular ones."""
    pairs = []
    for word in text.split():
        if "/" in word:
            singular, plural = word.split("/")
        else:
            singular, _, ending = word.partition("+")
            plural = singular + (ending or "s")
        pairs.append((singular, plural))
    return tuple(pairs)


def _triples(text: str) -> tuple[tuple[str, str, str], ...]:
    """Space-separated verbs, each as `third person|plural|past`."""
    triples = []
    for word in text.split():
        third, plural, past = word.split("|")
        triples.append((third, plural, past))
    return tuple(triples)


NOUNS = _pairs("""
    teacher doctor baker farmer soldier sailor nurse lawyer priest monk nun king prince princess+es knight
    neighbour friend stranger visitor child/children man/men woman/women boy girl mother father sister brother
    daughter son cousin grandmother grandfather widow baby/babies thief/thieves wife/wives husband
    fisherman/fishermen policeman/policemen gentleman/gentlemen lady/ladies student pupil scholar dancer singer
    pianist driver waiter barber tailor carpenter plumber mechanic clerk merchant reporter librarian gardener
    hunter miner shepherd butcher dentist surgeon magician witch+es
    table chair lamp window door wall roof key box+es bottle plate bowl knife/knives fork spoon shelf/shelves
    mirror clock bell piano bicycle wagon tooth/teeth foot/feet branch+es flag hammer ladder rope bucket curtain
    pillow suitcase wheel chimney bench+es fence tent loaf/loaves
""")

VERBS = _triples("""
    sleeps|sleep|slept waits|wait|waited smiles|smile|smiled laughs|laugh|laughed cries|cry|cried
    sings|sing|sang dances|dance|danced runs|run|ran walks|walk|walked swims|swim|swam talks|talk|talked
    listens|listen|listened works|work|worked rests|rest|rested arrives|arrive|arrived falls|fall|fell
    sits|sit|sat stands|stand|stood kneels|kneel|knelt yawns|yawn|yawned sneezes|sneeze|sneezed
    coughs|cough|coughed whispers|whisper|whispered shouts|shout|shouted jumps|jump|jumped
    travels|travel|travelled returns|return|returned disappears|disappear|disappeared
    appears|appear|appeared shivers|shiver|shivered trembles|tremble|trembled nods|nod|nodded
    prays|pray|prayed sighs|sigh|sighed blushes|blush|blushed stumbles|stumble|stumbled
    hesitates|hesitate|hesitated wakes|wake|woke speaks|speak|spoke weeps|weep|wept
""")

TRANSITIVE = _words("""
    found carried painted bought sold cleaned held kept lost moved noticed pulled pushed touched wanted washed
    watched needed liked loved hated remembered forgot dropped brought caught described admired chose followed
""")

ADJECTIVES = _words("""
    big small tall short long wide narrow thick thin heavy huge tiny large little round flat new young
    happy sad proud calm cheerful gloomy nervous brave shy lonely jealous curious bored tired hungry thirsty
    sleepy grumpy friendly gentle cruel polite rude clever foolish wise lazy patient famous poor rich strong
    weak healthy beautiful pretty plain clean dirty dry wet warm cold soft hard smooth rough precious rare
    strange quiet noisy slow
""")

ADVERBS = _words("""
    quietly quickly slowly often rarely sometimes always never gently loudly happily sadly suddenly carefully
    calmly proudly politely eagerly patiently secretly
""")

PREPOSITIONS = _words("near behind beside above below opposite under around")

GIRLS = _words("""
    Alice Emma Lucy Sarah Laura Helen Susan Julia Nora Olivia Sophie Nancy Rachel Rebecca Ruth Sally Sandra
    Sylvia Tessa Ursula Valerie Wendy Yvonne Zoe Amy Barbara Beatrice Bridget Celia Diana Eleanor Esther Fiona
    Gemma Harriet Irene Janet Judith Linda Molly
""")

BOYS = _words("""
    Oliver Daniel Peter Simon Andrew Matthew Luke Nathan Samuel Benjamin Jacob Brian Kevin Patrick Stephen
    Martin Philip Ralph Owen Hugh Graham Keith Neil Colin Derek Trevor Gavin Barry Duncan Malcolm Rupert Toby
    Felix Leonard Harold Arthur Edmund Julian Dennis Jeremy
""")

NAMES = GIRLS + BOYS

PLACES = _words("""
    market library garden park school church station harbour bakery forest beach village castle bridge museum
    theatre cinema hospital farm kitchen cellar bank river lake mountain hotel restaurant playground stadium
    tavern
""")

GIFTS = _words("""
    book letter basket ring scarf hat glove necklace bracelet candle ball doll puzzle kite toy cake pie biscuit
    sandwich parcel card postcard photograph poem purse wallet notebook pencil blanket guitar flute violin
    trumpet drum vase teapot mug ticket map medal
""")

DAYS = _words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")

MONTHS = _words("January February March April May June July August September October November December")

SEASONS = _words("spring summer autumn winter")

NUMBERS = _words("""
    one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty
""")

ORDINALS = _words("first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth")
