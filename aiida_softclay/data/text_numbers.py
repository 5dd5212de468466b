"""Numbers out of text, compiled: the tables of dumps are too large for Python's own way."""

from __future__ import annotations

import numpy as np

from aiida_softclay.analysis.compiled import compiled

POWERS_OF_TEN = 10.0 ** np.arange(23)
#: What a table can end with instead of its last number.
TRUNCATED, NOT_A_NUMBER = -1, -2
_NEWLINE, _SPACE = 10, 32
_LARGEST_MANTISSA = 10**17


@compiled
def parse_table(  # type: ignore[no-untyped-def]
    data, start, n_rows, columns, out, powers
):
    """Read the rows of a table of numbers.

    Parameters
    ----------
    data : ndarray of uint8
        The text.
    start : int
        Where the first row begins.
    n_rows : int
    columns : ndarray of int, shape (n_columns,)
        For each column of the text the column of ``out`` it goes to, or -1 to pass over it.
    out : ndarray, shape (n_rows, n_wanted)
        Takes the numbers.
    powers : ndarray
        :data:`POWERS_OF_TEN`.

    Returns
    -------
    int
        Where the text goes on, or :data:`TRUNCATED` or :data:`NOT_A_NUMBER`. A number is exact to one unit in the last
        place for up to 17 digits and exponents up to 22.
    """
    position, size = start, data.shape[0]
    for row in range(n_rows):
        for column in range(columns.shape[0]):
            while position < size and (data[position] == _SPACE or data[position] == 9):
                position += 1
            if position >= size:
                return TRUNCATED
            target = columns[column]
            if target < 0:
                while position < size and data[position] > _SPACE:
                    position += 1
                continue
            negative = data[position] == 45
            if negative or data[position] == 43:
                position += 1
            mantissa, exponent, digits = 0, 0, 0
            point = False
            while position < size:
                symbol = data[position]
                if 48 <= symbol <= 57:
                    digits += 1
                    if mantissa < _LARGEST_MANTISSA:
                        mantissa = 10 * mantissa + (symbol - 48)
                        exponent -= point
                    else:
                        exponent += not point
                elif symbol == 46 and not point:
                    point = True
                else:
                    break
                position += 1
            if digits == 0:
                return NOT_A_NUMBER
            if position < size and (data[position] == 101 or data[position] == 69):
                position += 1
                down = position < size and data[position] == 45
                if position < size and (down or data[position] == 43):
                    position += 1
                power = 0
                while position < size and 48 <= data[position] <= 57:
                    power = 10 * power + (data[position] - 48)
                    position += 1
                exponent += -power if down else power
            if position >= size:
                # The last number of a file that was cut may lack digits.
                return TRUNCATED
            if data[position] > _SPACE:
                return NOT_A_NUMBER
            value = float(mantissa)
            while exponent > 0:
                step = min(exponent, 22)
                value *= powers[step]
                exponent -= step
            while exponent < 0:
                step = min(-exponent, 22)
                value /= powers[step]
                exponent += step
            out[row, target] = -value if negative else value
        while position < size and (data[position] == _SPACE or data[position] == 9 or data[position] == 13):
            position += 1
        if position >= size:
            return TRUNCATED
        if data[position] != _NEWLINE:
            return NOT_A_NUMBER
        position += 1
    return position
