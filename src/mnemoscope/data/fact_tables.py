"""The facts themselves: `topic answer` pairs by relation, of the real world and of the invented one. One word each, no logic.

Within a relation the answers differ (continents excepted, see `facts.py`), also where nature would repeat them: of several
nations with one language or currency name only one is listed.
"""

from typing import Final

CAPITALS: Final = """China Beijing|USA Washington|Russia Moscow|England London|France Paris|Japan Tokyo|Italy Rome
Canada Ottawa|Australia Canberra|Spain Madrid|Egypt Cairo|Portugal Lisbon|Austria Vienna|Greece Athens
Thailand Bangkok|Germany Berlin|Poland Warsaw|Hungary Budapest|Sweden Stockholm|Norway Oslo|Finland Helsinki
Denmark Copenhagen|Ireland Dublin|Scotland Edinburgh|Belgium Brussels|Turkey Ankara|Iran Tehran|Iraq Baghdad
Syria Damascus|Lebanon Beirut|Jordan Amman|Kenya Nairobi|Ghana Accra|Nigeria Abuja|Senegal Dakar|Libya Tripoli
Tunisia Tunis|Algeria Algiers|Morocco Rabat|Sudan Khartoum|Cuba Havana|Peru Lima|Chile Santiago|Colombia Bogota
Venezuela Caracas|Ecuador Quito|Uruguay Montevideo|Nepal Kathmandu|Vietnam Hanoi|Indonesia Jakarta
Philippines Manila|Romania Bucharest|Bulgaria Sofia|Serbia Belgrade|Croatia Zagreb|Ukraine Kyiv|Latvia Riga
Lithuania Vilnius|Estonia Tallinn|Iceland Reykjavik"""

LANGUAGES: Final = """China Mandarin|USA English|Russia Russian|France French|Japan Japanese|Italy Italian
Spain Spanish|Egypt Arabic|Portugal Portuguese|Austria German|Greece Greek|Thailand Thai|Poland Polish
Hungary Hungarian|Sweden Swedish|Norway Norwegian|Finland Finnish|Denmark Danish|Turkey Turkish|Iran Persian
Israel Hebrew|Kenya Swahili|Nepal Nepali|Vietnam Vietnamese|Indonesia Indonesian|Philippines Filipino
Romania Romanian|Bulgaria Bulgarian|Serbia Serbian|Croatia Croatian|Ukraine Ukrainian|Latvia Latvian
Lithuania Lithuanian|Estonia Estonian|Iceland Icelandic|Netherlands Dutch|India Hindi|Korea Korean"""

CURRENCIES: Final = """China yuan|USA dollar|Russia ruble|England pound|France euro|Japan yen|Poland zloty
Hungary forint|Sweden krona|Norway krone|Turkey lira|Iran rial|Iraq dinar|Kenya shilling|Ghana cedi|Nigeria naira
Morocco dirham|Peru sol|Mexico peso|Venezuela bolivar|Vietnam dong|Indonesia rupiah|Romania leu|Bulgaria lev
Croatia kuna|Ukraine hryvnia|Thailand baht|India rupee|Korea won|Brazil real|Switzerland franc|Israel shekel"""

CONTINENTS: Final = """China Asia|Japan Asia|Thailand Asia|Iran Asia|Iraq Asia|Nepal Asia|Vietnam Asia|India Asia
Korea Asia|Syria Asia|France Europe|Italy Europe|Spain Europe|Portugal Europe|Austria Europe|Greece Europe
Germany Europe|Poland Europe|Sweden Europe|Norway Europe|Egypt Africa|Kenya Africa|Ghana Africa|Nigeria Africa
Senegal Africa|Libya Africa|Tunisia Africa|Algeria Africa|Morocco Africa|Sudan Africa|USA America|Canada America
Cuba America|Peru America|Chile America|Colombia America|Mexico America|Brazil America|Ecuador America
Uruguay America"""

OPPOSITES: Final = """hot cold|big small|tall short|fast slow|rich poor|young old|good bad|light dark|hard soft
wet dry|full empty|open closed|early late|strong weak|thick thin|wide narrow|deep shallow|high low|loud quiet
happy sad|clean dirty|safe dangerous|sweet bitter|smooth rough|sharp blunt|near far|up down|left right
inside outside|above below|before after|first last|true false|alive dead|awake asleep|brave cowardly
cheap expensive|easy difficult|simple complex|public private|guilty innocent|male female|north south|east west
day night|summer winter|war peace|love hate|friend enemy|victory defeat|question answer|beginning end|heaven hell
truth lie|more less|many few|always never|buy sell|push pull|win lose"""

PASTS: Final = """go went|run ran|see saw|eat ate|take took|give gave|come came|write wrote|drive drove|ride rode
speak spoke|break broke|steal stole|choose chose|freeze froze|wake woke|drink drank|sing sang|swim swam
begin began|ring rang|sink sank|fall fell|fly flew|grow grew|know knew|throw threw|blow blew|draw drew|hold held
find found|fight fought|bring brought|think thought|teach taught|catch caught|sleep slept|keep kept|leave left
feel felt|meet met|lead led|build built|send sent|spend spent|lend lent|lose lost|make made|say said|tell told
stand stood|sit sat|win won|get got|forget forgot|bite bit|hide hid|shake shook|become became
understand understood|walk walked|play played|open opened|help helped|look looked|talk talked|wait waited
hear heard|pay paid|wear wore"""

PLURALS: Final = """man men|woman women|child children|foot feet|tooth teeth|goose geese|mouse mice|ox oxen
leaf leaves|knife knives|wife wives|life lives|half halves|wolf wolves|shelf shelves|loaf loaves|thief thieves
calf calves|city cities|baby babies|lady ladies|story stories|berry berries|cherry cherries|fly flies|box boxes
fox foxes|bus buses|dish dishes|church churches|match matches|glass glasses|potato potatoes|tomato tomatoes
hero heroes|cat cats|dog dogs|book books|car cars|tree trees|house houses|horse horses|table tables|chair chairs
river rivers|bird birds|flower flowers|king kings|road roads|ship ships|star stars|stone stones|apple apples
door doors|key keys|hat hats|cow cows|pig pigs|bell bells|song songs"""

YOUNG: Final = """dog puppy|cat kitten|cow calf|horse foal|sheep lamb|pig piglet|goat kid|lion cub|deer fawn
duck duckling|swan cygnet|goose gosling|hen chick|frog tadpole|butterfly caterpillar|kangaroo joey|eagle eaglet
owl owlet|spider spiderling|hare leveret|seal pup|human baby|salmon fry|eel elver"""

SYMBOLS: Final = """hydrogen H|helium He|lithium Li|beryllium Be|boron B|carbon C|nitrogen N|oxygen O|fluorine F
neon Ne|sodium Na|magnesium Mg|aluminium Al|silicon Si|phosphorus P|sulfur S|chlorine Cl|argon Ar|potassium K
calcium Ca|titanium Ti|chromium Cr|manganese Mn|iron Fe|cobalt Co|nickel Ni|copper Cu|zinc Zn|arsenic As
bromine Br|silver Ag|tin Sn|iodine I|tungsten W|platinum Pt|gold Au|mercury Hg|lead Pb|radon Rn|radium Ra
uranium U"""

PRODUCTS: Final = """Apple iPhone|Microsoft Windows|Google Android|Amazon Kindle|Sony Walkman|Nintendo Switch
Intel Pentium|Adobe Photoshop|Toyota Corolla|Honda Civic|Ford Mustang|Volkswagen Beetle|Boeing Dreamliner
Lego bricks|Mattel Barbie|Kodak film|Gillette razors|Michelin tyres|Heinz ketchup|Nestle Nescafe|Pfizer Viagra
Bayer Aspirin|Oracle databases|Tesla Roadster|Hershey chocolate|Steinway pianos"""

WORKS: Final = """Shakespeare Hamlet|Homer Odyssey|Virgil Aeneid|Dante Inferno|Goethe Faust|Austen Emma
Joyce Ulysses|Nabokov Lolita|Stoker Dracula|Shelley Frankenstein|Voltaire Candide|Ovid Metamorphoses|Herbert Dune
Asimov Foundation|Woolf Orlando|Scott Ivanhoe|Euripides Medea|Sophocles Antigone|Kipling Kim|Plato Republic
Marx Capital|Hobbes Leviathan|Spinoza Ethics|Morrison Beloved|Ibsen Ghosts|Moliere Tartuffe"""

PLAYERS: Final = """tennis Federer|boxing Ali|golf Woods|football Pele|basketball Jordan|baseball Ruth
cricket Tendulkar|chess Kasparov|swimming Phelps|sprinting Bolt|cycling Merckx|hockey Gretzky|rugby Lomu
snooker Hendry|gymnastics Biles|surfing Slater|darts Taylor|skateboarding Hawk|sumo Hakuho|diving Louganis
skiing Killy|racing Senna|wrestling Karelin|volleyball Kiraly"""

FRENCH: Final = """dog chien|cat chat|horse cheval|cow vache|bird oiseau|fish poisson|house maison|door porte
window fenetre|table tableau|book livre|water eau|wine vin|bread pain|cheese fromage|milk lait|apple pomme
pear poire|tree arbre|flower fleur|sun soleil|moon lune|star etoile|sky ciel|sea mer|river riviere
mountain montagne|city ville|street rue|king roi|queen reine|man homme|woman femme|child enfant|mother mere
father pere|brother frere|sister soeur|friend ami|hand main|eye oeil|heart coeur|night nuit|day jour|year annee
snow neige|rain pluie|fire feu|red rouge|green vert"""

GERMAN: Final = """dog Hund|cat Katze|horse Pferd|cow Kuh|bird Vogel|fish Fisch|house Haus|door Tuer
window Fenster|table Tisch|book Buch|water Wasser|wine Wein|bread Brot|cheese Kaese|milk Milch|apple Apfel
pear Birne|tree Baum|flower Blume|sun Sonne|moon Mond|star Stern|sky Himmel|sea Meer|river Fluss|mountain Berg
city Stadt|street Strasse|king Koenig|queen Koenigin|man Mann|woman Frau|child Kind|mother Mutter|father Vater
brother Bruder|sister Schwester|friend Freund|heart Herz"""

COMPARATIVES: Final = """big bigger|small smaller|tall taller|short shorter|fast faster|slow slower|old older
young younger|hot hotter|cold colder|warm warmer|cool cooler|long longer|wide wider|deep deeper|high higher
low lower|strong stronger|weak weaker|rich richer|poor poorer|thick thicker|thin thinner|sweet sweeter|dark darker
light lighter|clean cleaner|happy happier|easy easier|early earlier|heavy heavier|good better|bad worse
far farther|loud louder|quick quicker|smart smarter|nice nicer"""

GERUNDS: Final = """run running|swim swimming|sit sitting|eat eating|drink drinking|write writing|read reading
sing singing|sleep sleeping|walk walking|talk talking|play playing|work working|cook cooking|drive driving
ride riding|fly flying|build building|paint painting|draw drawing|teach teaching|think thinking|buy buying
sell selling|fight fighting|win winning|lose losing|begin beginning|grow growing|fall falling|wash washing
clean cleaning|climb climbing|jump jumping|dance dancing|laugh laughing|cry crying|hold holding|throw throwing
catch catching"""

FEMININES: Final = """king queen|man woman|boy girl|father mother|brother sister|son daughter|uncle aunt
nephew niece|husband wife|actor actress|waiter waitress|prince princess|duke duchess|host hostess|hero heroine
wizard witch|monk nun|gentleman lady|bull cow|rooster hen|ram ewe|stallion mare|emperor empress|steward stewardess"""

DOERS: Final = """bake baker|paint painter|teach teacher|write writer|sing singer|dance dancer|drive driver
run runner|swim swimmer|hunt hunter|farm farmer|build builder|sell seller|buy buyer|read reader|lead leader
rule ruler|speak speaker|play player|win winner|lose loser|print printer|clean cleaner|climb climber
design designer|ride rider"""

ORDINALS: Final = """one first|two second|three third|four fourth|five fifth|six sixth|seven seventh|eight eighth
nine ninth|ten tenth|eleven eleventh|twelve twelfth|thirteen thirteenth|twenty twentieth|thirty thirtieth
hundred hundredth"""

SOUNDS: Final = """dog bark|cat meow|cow moo|sheep bleat|pig oink|horse neigh|duck quack|lion roar|bee buzz
snake hiss|wolf howl|owl hoot|mouse squeak|crow caw|frog croak|dove coo|donkey bray|rooster crow|bird chirp"""

PEOPLES: Final = """China Chinese|Russia Russians|England Englishmen|France Frenchmen|Japan Japanese
Italy Italians|Canada Canadians|Australia Australians|Spain Spaniards|Egypt Egyptians|Austria Austrians
Greece Greeks|Germany Germans|Poland Poles|Hungary Hungarians|Sweden Swedes|Norway Norwegians|Finland Finns
Denmark Danes|Scotland Scots|Belgium Belgians|Turkey Turks|Iran Iranians|Iraq Iraqis|Kenya Kenyans
Nigeria Nigerians|Cuba Cubans|Peru Peruvians|Chile Chileans|Brazil Brazilians|Mexico Mexicans|India Indians
Ukraine Ukrainians|Serbia Serbs|Netherlands Dutchmen|Ireland Irishmen"""

# More members for the answers of invented people, beside those of `words.py`.
MORE_PROFESSIONS: Final = """miller smith sailor potter weaver butcher barber clerk porter gardener shepherd fisherman mason
musician scholar merchant banker librarian jeweller shoemaker glazier hatter brewer surgeon"""
MORE_ANIMALS: Final = """parrot turtle hamster squirrel badger otter beaver hedgehog weasel falcon raven heron pigeon peacock lizard
crab trout whale dolphin camel zebra giraffe panda koala"""
MORE_FOODS: Final = """soup stew cake pie honey butter rice pasta salad sausage"""
MORE_FRIENDS: Final = """Bruno Carla Dora Emil Fritz Gina Heidi Ivan Jonas Karin"""
