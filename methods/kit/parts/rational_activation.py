"""A learnt activation: the quotient of two polynomials (Molina et al., 2020), version A, (5, 4).

f(x) = (a_0 + .. + a_5 x^5) / (1 + |b_1 x| + .. + |b_4 x^4|), coefficients (10,): a, then b.
"""

from torch import Tensor

TOP = 6  # coefficients of the numerator
ONE = (1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
GELU = (
    *(-0.00124, 0.50805, 0.41586, 0.13023, 0.02436, 0.00290),
    *(-0.06675, 0.17928, 0.03747, 1.66e-10),
)


def apply(x: Tensor, coefficients: Tensor) -> Tensor:
    """f of every entry, in fp32 whatever x is: x^5 leaves the range of shorter formats."""
    x, c = x.float(), coefficients.float()
    above = c[TOP - 1]
    for i in reversed(range(TOP - 1)):
        above = above * x + c[i]
    below, power = 1.0, x
    for b in c[TOP:]:
        below = below + (b * power).abs()
        power = power * x
    return above / below
