"""A learned activation: the Padé activation unit of Molina et al. (2020), version A, (5, 4).

f(x) = (a_0 + .. + a_5 x^5) / (1 + |b_1 x| + .. + |b_4 x^4|), coefficients (10,): a, then b.
"""

from torch import Tensor

NUMERATOR = 6  # number of coefficients
ONE = (1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
GELU = (
    *(-0.00124, 0.50805, 0.41586, 0.13023, 0.02436, 0.00290),
    *(-0.06675, 0.17928, 0.03747, 1.66e-10),
)


def rational(x: Tensor, coefficients: Tensor) -> Tensor:
    """Apply f in fp32: x^5 leaves the range of shorter formats."""
    x, c = x.float(), coefficients.float()
    above = c[NUMERATOR - 1]
    for i in reversed(range(NUMERATOR - 1)):
        above = above * x + c[i]
    below, power = 1.0, x
    for b in c[NUMERATOR:]:
        below = below + (b * power).abs()
        power = power * x
    return above / below
