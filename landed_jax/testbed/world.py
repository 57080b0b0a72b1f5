"""True facts about the real world: landmarks, countries, people, animals and things."""

from typing import NamedTuple


class Landmark(NamedTuple):
    """A landmark, named as in the middle of a sentence, with its city and country."""

    name: str
    city: str
    country: str


class Country(NamedTuple):
    """A country, its capital, its main official language, its continent and its currency."""

    name: str
    capital: str
    language: str
    continent: str
    currency: str


class Person(NamedTuple):
    """A historical person, with occupation and country of birth."""

    name: str
    occupation: str
    country: str


class Animal(NamedTuple):
    """An animal, its class, and the name of its young."""

    name: str
    kind: str
    young: str


class Thing(NamedTuple):
    """A thing, its typical colour, and its category."""

    name: str
    colour: str
    category: str


def _groups(text: str) -> list[tuple[list[str], list[str]]]:
    """The words before the colon and the comma-separated items after it, for every line of `text`."""
    groups = []
    for line in text.strip().splitlines():
        head, items = line.split(":")
        groups.append((head.split(), [item.strip() for item in items.split(",")]))
    return groups


# city country: landmarks
_LANDMARKS = """
Rome Italy: the Colosseum, the Trevi Fountain, the Spanish Steps
Florence Italy: the Uffizi, the Ponte Vecchio, the Pitti Palace
Venice Italy: the Rialto Bridge, La Fenice
Milan Italy: La Scala, the Sforza Castle
Pisa Italy: the Leaning Tower
Paris France: the Eiffel Tower, Notre Dame, the Louvre, the Moulin Rouge
London England: Big Ben, Tower Bridge, Buckingham Palace, Westminster Abbey
Oxford England: the Bodleian Library, the Ashmolean Museum
York England: York Minster
Edinburgh Scotland: Holyrood Palace, the Scott Monument
Glasgow Scotland: the Kelvingrove Museum, the Burrell Collection
Berlin Germany: the Brandenburg Gate, the Reichstag, Checkpoint Charlie
Munich Germany: the Deutsches Museum, Nymphenburg Palace
Dresden Germany: the Zwinger, the Semperoper
Cologne Germany: Cologne Cathedral, the Hohenzollern Bridge
Vienna Austria: the Prater, the Albertina
Salzburg Austria: Hohensalzburg Fortress, Mirabell Palace
Madrid Spain: the Prado, the Reina Sofia
Barcelona Spain: the Sagrada Familia, La Rambla
Granada Spain: the Alhambra, the Generalife
Seville Spain: the Giralda, the Metropol Parasol
Lisbon Portugal: the Carmo Convent, the Gulbenkian Museum
Athens Greece: the Parthenon, the Acropolis, the Erechtheion, Syntagma Square
Istanbul Turkey: Hagia Sophia, the Blue Mosque, Topkapi Palace, the Galata Tower
Copenhagen Denmark: the Little Mermaid, Tivoli Gardens
Stockholm Sweden: the Vasa Museum, Skansen
Oslo Norway: the Munch Museum, Akershus Fortress
Helsinki Finland: Finlandia Hall, Suomenlinna
Krakow Poland: Wawel Castle, Wawel Cathedral
Prague Czechia: Charles Bridge, the Dancing House, Wenceslas Square
Budapest Hungary: Buda Castle, Matthias Church
Moscow Russia: the Kremlin, Red Square, the Bolshoi Theatre
Cairo Egypt: the Cairo Tower, Khan el Khalili
Giza Egypt: the Sphinx, the Great Pyramid
Marrakesh Morocco: the Koutoubia Mosque, the Majorelle Garden
Agra India: the Taj Mahal, the Agra Fort
Delhi India: the Red Fort, the Lotus Temple, the Qutb Minar
Jaipur India: the Hawa Mahal, the Jal Mahal
Lahore Pakistan: the Badshahi Mosque, the Lahore Fort
Tehran Iran: the Azadi Tower, the Golestan Palace
Beijing China: the Forbidden City, Tiananmen Square, the Summer Palace
Shanghai China: the Bund, Yu Garden
Tokyo Japan: the Meiji Shrine, Shibuya Crossing
Kyoto Japan: the Golden Pavilion, the Silver Pavilion, Nijo Castle
Osaka Japan: Dotonbori, Osaka Castle
Bangkok Thailand: the Grand Palace, Wat Arun, Wat Pho
Sydney Australia: the Harbour Bridge, Bondi Beach
Melbourne Australia: Federation Square, Flinders Street Station
Toronto Canada: the CN Tower, Casa Loma
Lima Peru: Huaca Pucllana, the Larco Museum
"""

# language continent currency: countries, each with its capital
_COUNTRIES = """
Italian Europe euro: Italy Rome
French Europe euro: France Paris
German Europe euro: Germany Berlin, Austria Vienna
Spanish Europe euro: Spain Madrid
Portuguese Europe euro: Portugal Lisbon
Greek Europe euro: Greece Athens
Finnish Europe euro: Finland Helsinki
Croatian Europe euro: Croatia Zagreb
Slovene Europe euro: Slovenia Ljubljana
Slovak Europe euro: Slovakia Bratislava
Estonian Europe euro: Estonia Tallinn
Latvian Europe euro: Latvia Riga
Lithuanian Europe euro: Lithuania Vilnius
Danish Europe krone: Denmark Copenhagen
Norwegian Europe krone: Norway Oslo
Swedish Europe krona: Sweden Stockholm
Icelandic Europe krona: Iceland Reykjavik
Polish Europe zloty: Poland Warsaw
Czech Europe koruna: Czechia Prague
Hungarian Europe forint: Hungary Budapest
Romanian Europe leu: Romania Bucharest
Serbian Europe dinar: Serbia Belgrade
Albanian Europe lek: Albania Tirana
Ukrainian Europe hryvnia: Ukraine Kyiv
Russian Europe rouble: Russia Moscow
Turkish Asia lira: Turkey Ankara
Japanese Asia yen: Japan Tokyo
Chinese Asia yuan: China Beijing
Thai Asia baht: Thailand Bangkok
Vietnamese Asia dong: Vietnam Hanoi
Nepali Asia rupee: Nepal Kathmandu
Urdu Asia rupee: Pakistan Islamabad
Bengali Asia taka: Bangladesh Dhaka
Mongolian Asia tugrik: Mongolia Ulaanbaatar
Persian Asia rial: Iran Tehran
Arabic Asia dinar: Iraq Baghdad
Arabic Asia pound: Syria Damascus, Lebanon Beirut
Arabic Asia riyal: Qatar Doha
Arabic Africa pound: Egypt Cairo
Arabic Africa dirham: Morocco Rabat
Arabic Africa dinar: Algeria Algiers, Tunisia Tunis, Libya Tripoli
English Africa naira: Nigeria Abuja
English Africa cedi: Ghana Accra
English Africa dollar: Namibia Windhoek
French Africa franc: Senegal Dakar
Portuguese Africa kwanza: Angola Luanda
English America dollar: Canada Ottawa, Jamaica Kingston
Spanish America dollar: Ecuador Quito
Spanish America peso: Chile Santiago, Uruguay Montevideo, Colombia Bogota, Cuba Havana
Spanish America bolivar: Venezuela Caracas
Spanish America sol: Peru Lima
Portuguese America real: Brazil Brasilia
English Oceania dollar: Australia Canberra
Samoan Oceania tala: Samoa Apia
"""

# occupation country: people
_PEOPLE = """
physicist England: Isaac Newton, Michael Faraday
physicist Germany: Albert Einstein
physicist Poland: Marie Curie
physicist Denmark: Niels Bohr
physicist Italy: Alessandro Volta
chemist France: Antoine Lavoisier, Louis Pasteur
chemist Russia: Dmitri Mendeleev
chemist Germany: Robert Bunsen
chemist England: John Dalton
painter France: Claude Monet, Henri Matisse
painter Spain: Pablo Picasso, Francisco Goya
painter Mexico: Frida Kahlo
painter Italy: Sandro Botticelli, Artemisia Gentileschi
painter Austria: Gustav Klimt
painter Japan: Katsushika Hokusai
composer Germany: Johann Bach, Clara Schumann
composer Austria: Wolfgang Mozart, Franz Schubert
composer Italy: Giuseppe Verdi, Antonio Vivaldi
composer Poland: Frederic Chopin
composer Norway: Edvard Grieg
composer Finland: Jean Sibelius
writer England: Jane Austen, William Shakespeare, Charles Dickens
writer Ireland: Oscar Wilde
writer France: Victor Hugo
writer Russia: Leo Tolstoy, Anton Chekhov
writer Denmark: Hans Andersen
poet England: John Keats
poet Italy: Dante Alighieri
poet Chile: Pablo Neruda
poet India: Rabindranath Tagore
poet Russia: Alexander Pushkin
poet Scotland: Robert Burns
philosopher England: John Locke
philosopher Scotland: David Hume
philosopher Germany: Friedrich Nietzsche, Karl Marx
mathematician England: Ada Lovelace, Alan Turing
mathematician Germany: Carl Gauss, Emmy Noether
mathematician France: Blaise Pascal
mathematician India: Srinivasa Ramanujan
explorer England: James Cook, Francis Drake
explorer Portugal: Ferdinand Magellan
explorer Norway: Roald Amundsen
astronomer Italy: Galileo Galilei
astronomer England: Edmond Halley
astronomer Germany: Caroline Herschel, Johannes Kepler
astronomer Sweden: Anders Celsius
inventor Sweden: Alfred Nobel
inventor Scotland: James Watt
inventor Italy: Guglielmo Marconi
inventor France: Louis Braille
queen England: Elizabeth Tudor, Anne Boleyn
queen Scotland: Mary Stuart
queen Austria: Marie Antoinette
emperor France: Napoleon Bonaparte
emperor Ethiopia: Haile Selassie
"""

# kind young: animals
_ANIMALS = """
mammal puppy: dog
mammal kitten: cat
mammal calf: cow, elephant, whale, dolphin, giraffe, camel
mammal foal: horse, donkey, zebra
mammal lamb: sheep
mammal piglet: pig
mammal kid: goat
mammal cub: lion, tiger, bear, leopard, badger, panda
mammal pup: wolf, seal, otter, bat
mammal fawn: deer
mammal leveret: hare
mammal joey: kangaroo, koala
mammal hoglet: hedgehog
mammal cria: llama
bird chick: hen, penguin, parrot, sparrow, ostrich, robin
bird duckling: duck
bird gosling: goose
bird cygnet: swan
bird owlet: owl
bird eaglet: eagle
bird squab: pigeon
fish fry: salmon, trout, carp
fish elver: eel
fish pup: shark
reptile hatchling: turtle, crocodile, tortoise, lizard, snake
insect larva: bee, ant, wasp, beetle
insect caterpillar: butterfly, moth
insect nymph: grasshopper
amphibian tadpole: frog, toad
amphibian larva: newt
"""

# colour category: things
_THINGS = """
yellow fruit: banana, lemon
green fruit: lime
red fruit: cherry, strawberry, raspberry
orange fruit: apricot, tangerine
blue fruit: blueberry
purple fruit: plum
orange vegetable: carrot
green vegetable: cucumber, pea, lettuce
white vegetable: cauliflower
purple vegetable: aubergine
yellow flower: daffodil, buttercup, dandelion, sunflower
white flower: snowdrop, daisy
blue flower: cornflower, bluebell
red flower: poppy
yellow metal: gold
grey metal: iron, steel, lead
red stone: ruby
green stone: emerald, jade
blue stone: sapphire
purple stone: amethyst
black stone: obsidian
white stone: chalk
grey stone: granite
brown nut: hazelnut, chestnut
brown spice: cinnamon
red spice: paprika
white food: salt, flour
pink food: candyfloss
pink meat: ham
white drink: milk
brown drink: cocoa
black fuel: coal, charcoal
green plant: grass, moss
"""

LANDMARKS = tuple(Landmark(name, city, country) for (city, country), names in _groups(_LANDMARKS) for name in names)

COUNTRIES = tuple(
    Country(name, capital, language, continent, currency)
    for (language, continent, currency), entries in _groups(_COUNTRIES)
    for name, capital in map(str.split, entries)
)

PEOPLE = tuple(Person(name, occupation, country) for (occupation, country), names in _groups(_PEOPLE) for name in names)

ANIMALS = tuple(Animal(name, kind, young) for (kind, young), names in _groups(_ANIMALS) for name in names)

THINGS = tuple(Thing(name, colour, category) for (colour, category), names in _groups(_THINGS) for name in names)
