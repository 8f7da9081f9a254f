"""Which icon sets go where: who drew what is tested drew nothing of what is learnt from.

Names are the prefixes of the npm package ``@iconify/json``. A family (forks, later versions,
restyles) stays on one side.
"""

PACKAGE = "@iconify/json"
VERSION = "2.2.535"

# Permissive licences only: nothing share-alike, GPL or non-commercial.
LICENCES = frozenset(
    {"MIT", "Apache-2.0", "ISC", "BSD-3-Clause", "CC0-1.0", "Unlicense", "CC-BY-3.0", "CC-BY-4.0"}
)

EMOJI = {
    "train": ("fluent-emoji", "fluent-emoji-flat", "emojione"),
    "test": ("noto", "noto-v1", "twemoji"),
}
FLAGS = {
    "train": ("circle-flags", "flag", "emojione"),
    "test": ("cif", "flag", "twemoji"),  # `flag` draws 1x1 (train) and 4x3 (test)
}
CONCEPTS = {
    "train": tuple(
        """bx bxs boxicons octicon heroicons heroicons-outline heroicons-solid akar-icons mage basil
        gg uiw icons8 wpf foundation oi raphael subway fontisto lineicons prime ep ci cil si
        at-icons griddy-icons streamline-stickies-color fluent-color marketeq zondicons
        simple-line-icons grommet-icons humbleicons""".split()
    ),
    "test": tuple(
        """ion famicons bi fa7-solid fa7-regular fa6-solid fa6-regular fa-solid fa-regular la carbon
        uil uis uim uit clarity iconoir ant-design teenyicons majesticons eva vaadin jam
        flat-color-icons streamline-kameleon-color gravity-ui bytesize ei""".split()
    ),
}

# Vendors of emoji and flags whose drawings are learnt from instead of tested: without one, the
# towers would know nothing of flags and little of coloured drawings.
CORPUS_EMOJI = "fxemoji"
CORPUS_FLAGS = "flagpack"

RESERVED = frozenset(
    {
        *(p for sides in (EMOJI, FLAGS, CONCEPTS) for side in sides.values() for p in side),
        "openmoji",
        "emojione-v1",
        "meteocons",
    }
)

# Logos, brands, file types of programming, repeats of a style, animated sets, dot-matrix letters.
DROPPED = frozenset(
    """simple-icons logos cib cryptocurrency cryptocurrency-color token token-branded thesvg
    thesvg-color selfhst devicon devicon-plain skill-icons fa7-brands fa6-brands fa-brands bxl
    streamline-logos unjs k8s gcp nonicons bitcoin-icons file-icons vscode-icons catppuccin
    material-icon-theme material-symbols-light line-md svg-spinners feather mono-icons pepicons
    flat-ui il topcoat iwwa ginetex geo dinkie-icons icon-park-twotone pepicons-print""".split()
)

# How many drawings of one name a set may give, by style; styles of a name look much alike.
STYLES = {"line": 3, "fill": 2, "duo": 1}
ONE_OF_EACH = """fluent garden fluent-mdl2 keyline-icons reicon healthicons boxicons ph
    iconamoon""".split()
STYLES_OF = {
    **{prefix: {"line": 1, "fill": 1, "duo": 1} for prefix in ONE_OF_EACH},
    "material-symbols": {"line": 2, "fill": 1, "duo": 0},
    "ic": {"line": 2, "fill": 1, "duo": 0},
    "iconmind": {"line": 1, "fill": 0, "duo": 1},
    "solar": {"line": 2, "fill": 2, "duo": 2},
}
PREFERRED = {
    "fluent": ("-24-", "-20-", "-28-", "-16-"),
    "iconmind": ("outline-regular", "duotone-bold"),
}

# How often a drawing is sampled, against 1. Colour is scarce in the corpus, not in the tasks.
WEIGHTS = {
    "iconmind": 0.4,
    "streamline-emojis": 3.0,
    "fluent-emoji-high-contrast": 2.0,
    "emojione-monotone": 1.5,
    "game-icons": 1.5,
    "icon-park": 1.5,
    CORPUS_EMOJI: 2.0,
    CORPUS_FLAGS: 3.0,
}
COLOUR_WEIGHT = 3.0

# Words for what people wear that few drawings have: these drawings are sampled more often, and are
# also called what other people say.
SYNONYMS = {
    "pants": ("trousers", "trouser"),
    "trousers": ("pants", "trouser"),
    "sweater": ("pullover", "jumper"),
    "jumper": ("pullover", "sweater"),
    "hoodie": ("pullover", "hooded pullover"),
    "t shirt": ("t-shirt", "t-shirt top"),
    "tshirt": ("t-shirt", "t-shirt top"),
    "sneaker": ("trainer", "running shoe"),
    "sneakers": ("sneaker", "trainers"),
    "running shoe": ("sneaker", "trainer"),
    "boot": ("ankle boot", "boots"),
    "boots": ("ankle boot", "boot"),
    "shoe boot": ("ankle boot", "boot"),
    "sandals": ("sandal", "open shoe"),
    "flip flops": ("sandals", "sandal"),
    "high heel": ("heeled sandal", "court shoe"),
    "overcoat": ("coat", "winter coat"),
    "jacket": ("coat", "outdoor jacket"),
    "handbag": ("bag", "purse"),
    "purse": ("handbag", "bag"),
    "tote": ("bag", "tote bag"),
    "gown": ("dress", "evening dress"),
    "blouse": ("shirt",),
}
WORN = frozenset(
    """shirt tshirt blouse sweater pullover jumper hoodie cardigan pants trousers trouser
    jeans shorts skirt dress gown coat overcoat jacket raincoat sandal sandals sneaker sneakers shoe
    shoes boot boots heel heels loafer slipper handbag vest undershirt""".split()
)
WORN_WEIGHT = 4.0

# Words whose drawings mean something else in the mirror.
DIRECTED = frozenset(
    """left right arrow chevron caret letter number numeric align text file sort forward back
    backward next previous undo redo alphabet clock flag""".split()
)
