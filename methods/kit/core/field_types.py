"""Types for the fields of a method, checked by configuration before anything is built."""

import math
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt

PositiveInt = Annotated[int, Gt(0)]
NonNegativeInt = Annotated[int, Ge(0)]
PositiveFloat = Annotated[float, Gt(0), Lt(math.inf)]
NonNegativeFloat = Annotated[float, Ge(0), Lt(math.inf)]
Fraction = Annotated[float, Ge(0), Le(1)]
Dropout = Annotated[float, Ge(0), Lt(1)]

TowerName = Literal["image", "text"]
LinearSite = Literal["q", "k", "v", "o", "fc", "proj"]
Activation = Literal["relu", "gelu", "quick_gelu", "identity"]

BOTH_TOWERS: tuple[TowerName, ...] = ("image", "text")
