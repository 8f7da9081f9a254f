"""The marks of a picture: a colour and a shape for each method, so that neither is needed alone."""

from collections.abc import Iterable

COLOURS = 8  # classes c0 to c7 of the style sheet
SHAPES = (
    "M-6 0A6 6 0 1 0 6 0A6 6 0 1 0 -6 0Z",
    "M-5 -5H5V5H-5Z",
    "M0 -7L6.5 5H-6.5Z",
    "M0 -7.5L7 0L0 7.5L-7 0Z",
    "M0 7L6.5 -5H-6.5Z",
    "M-2 -6.5H2V-2H6.5V2H2V6.5H-2V2H-6.5V-2H-2Z",
    "M-6.5 0L-2 -6.5H2L6.5 0L2 6.5H-2Z",
)


def styles(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Class and path of each name, in alphabetical order; after 8 the shapes move on."""
    return {
        name: (f"c{i % COLOURS}", SHAPES[(i + i // COLOURS) % len(SHAPES)])
        for i, name in enumerate(sorted(set(names)))
    }


def sample(style: tuple[str, str]) -> str:
    """A mark for a legend."""
    kind, path = style
    return (
        f'<svg class="mark {kind}" viewBox="-9 -9 18 18" aria-hidden="true">'
        f'<path d="{path}"/></svg>'
    )
