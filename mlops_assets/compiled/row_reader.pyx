# cython: language_level=3, wraparound=False, cdivision=True
"""Rows in JSON as columns of numbers, without an object for each value.

Reads `{"records": [{…}, …]}` where all records have the keys of the first one in its order, and
`{"columns": {name: […], …}}`, with a `request_id` before or after. Every input has to be there,
each of its type: whatever else is valid, or is not, is left to others. Nothing is ever read
differently from how they would read it.

What comes is looked at byte by byte. The bytes of a `bytes` object are followed by a zero, which
nothing here takes for anything, so no step goes past the end; where several bytes are compared at
once, it is checked before that there are as many.
"""

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.math cimport NAN, isinf, ldexp
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp

from json import loads

import numpy as np

cdef extern from *:
    """
    typedef unsigned __int128 wide_t;
    /* m / d for m in [2^63, 2^64), d in [2^63, 2^64): 63 bits or 64; the last bit says whether
       anything is left over. */
    static inline unsigned long long quotient_of(unsigned long long m, unsigned long long d) {
        wide_t n = (wide_t)m << 63;
        unsigned long long q = (unsigned long long)(n / d);
        return q | ((wide_t)q * d != n);
    }
    static inline int zeros_before(unsigned long long m) { return __builtin_clzll(m); }
    """
    uint64_t quotient_of(uint64_t m, uint64_t d) nogil
    int zeros_before(uint64_t m) nogil

cdef enum:
    # Places of a hash table for each level in it.
    ROOM = 4
    # Bytes; longer ones are for others to refuse.
    LONGEST_ID = 4096
    # Texts beside the levels in a column of one request; with them, places fit into 16 bits.
    MOST_NEW = 30000
    # Digits that a word of 64 bits holds, whichever they are.
    MOST_DIGITS = 19
    FIRST_ROWS = 64

cdef char COMMA = b","
cdef char CLOSING = b"}"

cdef enum Kind:
    NUMBER
    INTEGER
    BOOLEAN
    CATEGORY
    TEXT

KINDS = {"number": NUMBER, "integer": INTEGER, "boolean": BOOLEAN, "category": CATEGORY}

cdef double[23] POWERS
cdef uint64_t[20] WHOLE_POWERS
for _place in range(23):
    POWERS[_place] = float(10**_place)
for _place in range(20):
    WHOLE_POWERS[_place] = 10**_place

cdef struct Level:
    const char* text
    Py_ssize_t size

cdef struct Column:
    const char* key  # with its quotes
    Py_ssize_t size
    int kind
    bint is_nullable
    int known
    Level* levels
    int32_t* slots  # places in `levels` by hash, -1 where there is none
    uint32_t mask


cdef class RowReader:
    """Reads rows of `inputs` and, as text or null, of any of `extras`.

    An input is its name, its type in the contract, whether it may be null, and for a category
    levels that it is known to have. Whole numbers are at most `largest`.
    """

    cdef Column* _columns
    cdef int _count
    cdef int _inputs
    cdef uint64_t _largest
    cdef list _extras
    cdef dict _places
    cdef list _kept

    def __cinit__(self, inputs, extras, largest):
        cdef int place
        self._inputs = len(inputs)
        self._count = self._inputs + len(extras)
        self._largest = largest
        self._extras = list(extras)
        # The columns point into what is kept here.
        self._kept = []
        self._places = {}
        self._columns = <Column*>PyMem_Calloc(max(self._count, 1), sizeof(Column))
        if self._columns == NULL:
            raise MemoryError
        for place, (name, kind, is_nullable, levels) in enumerate(inputs):
            self._name(place, name)
            self._columns[place].kind = KINDS[kind]
            self._columns[place].is_nullable = is_nullable
            if kind == "category":
                self._learn(&self._columns[place], [level.encode() for level in levels])
        for place, name in enumerate(extras, start=self._inputs):
            self._name(place, name)
            self._columns[place].kind = TEXT

    def __dealloc__(self):
        cdef int place
        if self._columns != NULL:
            for place in range(self._count):
                PyMem_Free(self._columns[place].levels)
                PyMem_Free(self._columns[place].slots)
            PyMem_Free(self._columns)

    cdef int _name(self, int place, str name) except -1:
        cdef bytes key = b'"%b"' % name.encode()
        if not name.isprintable() or '"' in name or "\\" in name:
            raise ValueError(f"no key can be looked for by the name {name!r}")
        if self._places.setdefault(key, place) != place:
            raise ValueError(f"two columns have the name {name!r}")
        self._kept.append(key)
        self._columns[place].key = key
        self._columns[place].size = len(key)
        return 0

    cdef int _learn(self, Column* column, list levels) except -1:
        cdef Py_ssize_t size = 1 << (ROOM * len(levels)).bit_length()
        cdef bytes level
        cdef int32_t place
        cdef uint32_t slot
        self._kept.append(levels)
        column.levels = <Level*>PyMem_Calloc(max(len(levels), 1), sizeof(Level))
        column.slots = <int32_t*>PyMem_Calloc(size, sizeof(int32_t))
        if column.levels == NULL or column.slots == NULL:
            raise MemoryError
        column.known = len(levels)
        column.mask = size - 1
        for slot in range(size):
            column.slots[slot] = -1
        for place, level in enumerate(levels):
            column.levels[place] = Level(level, len(level))
            slot = hash_of(level, len(level)) & column.mask
            while column.slots[slot] >= 0:
                slot = (slot + 1) & column.mask
            column.slots[slot] = place
        return 0

    def read(self, bytes raw):
        """The rows of a body, or None where it has to be read in another way.

        Gives the request id (None where there is none), the inputs as float64, each of shape (n,),
        where categories are places of levels and NaN is missing, for each input the texts that are
        none of its levels, which have the places after them, and the extras that are there as lists
        by name. Lists of columns may differ in length.
        """
        cdef const char* begin = raw
        cdef const char* end = begin + len(raw)
        cdef const char* at = after_space(begin)
        cdef const char* start
        request_id = None
        found = None
        has_id = False
        if at[0] != b"{":
            return None
        at = after_space(at + 1)
        while True:
            if found is None and starts_with(at, end, b'"records"', 9):
                at = after_colon(at + 9)
                if at == NULL or at[0] != b"[":
                    return None
                found = self._records(&at, end)
                if found is None:
                    return None
            elif found is None and starts_with(at, end, b'"columns"', 9):
                at = after_colon(at + 9)
                if at == NULL or at[0] != b"{":
                    return None
                found = self._by_column(&at, end)
                if found is None:
                    return None
            elif not has_id and starts_with(at, end, b'"request_id"', 12):
                has_id = True
                at = after_colon(at + 12)
                if at == NULL:
                    return None
                if starts_with(at, end, b"null", 4):
                    at += 4
                else:
                    start = at + 1
                    at = after_text(at)
                    if at == NULL or not 0 < at - 1 - start <= LONGEST_ID:
                        return None
                    request_id = decoded(start, at - 1 - start)
                    if request_id is None:
                        return None
            else:
                return None
            at = after_space(at)
            if at[0] == b"}":
                break
            if at[0] != b",":
                return None
            at = after_space(at + 1)
        if found is None or after_space(at + 1) != end:
            return None
        return request_id, *found

    cdef tuple _records(self, const char** place, const char* end):
        """Inputs and extras of a list of records; `place` is moved behind it."""
        cdef const char* at = after_space(place[0] + 1)
        cdef const char* first = at
        cdef Column* column
        cdef int[::1] order = self._order(at)
        cdef Py_ssize_t room, rows = 0
        cdef int turn, keys
        cdef double value = 0
        if order is None:
            return None
        keys = len(order)
        texts = [[] for _ in range(self._count - self._inputs)]
        new = [{} for _ in range(self._inputs)]
        room = FIRST_ROWS
        matrix = np.empty((self._inputs, room))
        cdef double[:, ::1] values = matrix
        while True:
            if rows == room:
                # As many as there will be if all are as long as those so far; an odd number, lest
                # all columns of a row lie in the same lines of the cache.
                room = max(2 * rows, rows * (end - first) // (at - first) + rows // 8) | 1
                larger = np.empty((self._inputs, room))
                larger[:, :rows] = matrix
                matrix = values = larger
            if at[0] != b"{":
                return None
            at += 1
            for turn in range(keys):
                column = &self._columns[order[turn]]
                if not starts_with(at, end, column.key, column.size):
                    at = after_space(at)
                    if not starts_with(at, end, column.key, column.size):
                        return None
                at = after_colon(at + column.size)
                if at == NULL:
                    return None
                if column.kind == TEXT:
                    at = self._text(at, end, texts[order[turn] - self._inputs])
                else:
                    at = self._value(at, end, column, new, order[turn], &value)
                    values[order[turn], rows] = value
                if at == NULL:
                    return None
                at = after_space(at)
                if at[0] != (CLOSING if turn == keys - 1 else COMMA):
                    return None
                at += 1
            rows += 1
            at = after_space(at)
            if at[0] == b"]":
                break
            if at[0] != b",":
                return None
            at = after_space(at + 1)
        place[0] = at + 1
        there = set(order)
        return list(matrix[:, :rows]), list(map(tuple, new)), {
            name: text
            for number, (name, text) in enumerate(zip(self._extras, texts), start=self._inputs)
            if number in there
        }

    cdef tuple _by_column(self, const char** place, const char* end):
        """Inputs and extras of an object of lists; `place` is moved behind it."""
        cdef const char* at = place[0]
        cdef const char* start
        cdef Py_ssize_t room = FIRST_ROWS, rows
        cdef double[::1] values
        cdef double value = 0
        cdef Column* column
        cdef int number
        inputs = [None] * self._inputs
        new = [{} for _ in range(self._inputs)]
        extras = {}
        while True:
            start = at = after_space(at + 1)
            at = after_text(at)
            if at == NULL:
                return None
            found = self._places.get(start[: at - start])
            if found is None:
                return None
            number = found
            column = &self._columns[number]
            at = after_colon(at)
            if at == NULL or at[0] != b"[":
                return None
            rows = 0
            texts = []
            read = values = np.empty(room)
            while True:
                at = after_space(at + 1)
                if column.kind == TEXT:
                    at = self._text(at, end, texts)
                else:
                    if rows == room:
                        room *= 2
                        larger = np.empty(room)
                        larger[:rows] = read
                        read = values = larger
                    at = self._value(at, end, column, new, number, &value)
                    values[rows] = value
                    rows += 1
                if at == NULL:
                    return None
                at = after_space(at)
                if at[0] == b"]":
                    break
                if at[0] != b",":
                    return None
            if column.kind == TEXT:
                if extras.setdefault(self._extras[number - self._inputs], texts) is not texts:
                    return None
            elif inputs[number] is not None:
                return None
            else:
                inputs[number] = read[:rows]
            at = after_space(at + 1)
            if at[0] == b"}":
                break
            if at[0] != b",":
                return None
        place[0] = at + 1
        if any(one is None for one in inputs):
            return None
        return inputs, list(map(tuple, new)), extras

    cdef object _order(self, const char* at):
        """The columns of the record's keys; None if one is unknown or twice, or an input missing."""
        cdef const char* start
        cdef list order = []
        if at[0] != b"{":
            return None
        while True:
            start = at = after_space(at + 1)
            at = after_text(at)
            if at == NULL:
                return None
            place = self._places.get(start[: at - start])
            if place is None or place in order:
                return None
            order.append(place)
            at = after_colon(at)
            if at == NULL:
                return None
            if at[0] == b'"':
                at = after_escapes(at)
                if at == NULL:
                    return None
            while at[0] != b"," and at[0] != b"}":
                if <uint8_t>at[0] < 32 and at[0] != b"\n" and at[0] != b"\r" and at[0] != b"\t":
                    return None
                at += 1
            if at[0] == b"}":
                break
        if sum(place < self._inputs for place in order) != self._inputs:
            return None
        return np.array(order, dtype=np.intc)

    cdef const char* _text(self, const char* at, const char* end, list texts) except? NULL:
        """Append a text or None; gives what comes after it, or NULL."""
        if starts_with(at, end, b"null", 4):
            texts.append(None)
            return at + 4
        text = text_at(&at)
        if text is None:
            return NULL
        texts.append(text)
        return at

    cdef const char* _value(
        self,
        const char* at,
        const char* end,
        Column* column,
        list new,
        int number,
        double* value,
    ) except? NULL:
        """Read one input; gives what comes after it, or NULL."""
        cdef const char* after
        if at[0] == b"n":
            if not column.is_nullable or not starts_with(at, end, b"null", 4):
                return NULL
            value[0] = NAN
            return at + 4
        if column.kind == CATEGORY:
            after = level_at(at, column, value)
            return after if after != NULL else new_level_at(at, column, new[number], value)
        if column.kind == BOOLEAN:
            if starts_with(at, end, b"true", 4):
                value[0] = 1
                return at + 4
            value[0] = 0
            return at + 5 if starts_with(at, end, b"false", 5) else NULL
        return number_at(at, self._largest if column.kind == INTEGER else 0, value)


cdef inline const char* after_space(const char* at) noexcept:
    while at[0] == b" " or at[0] == b"\n" or at[0] == b"\r" or at[0] == b"\t":
        at += 1
    return at


cdef inline const char* after_colon(const char* at) noexcept:
    """What comes after a colon and the space around it; NULL where there is none."""
    at = after_space(at)
    return after_space(at + 1) if at[0] == b":" else NULL


cdef inline bint starts_with(
    const char* at, const char* end, const char* text, Py_ssize_t size
) noexcept:
    return end - at >= size and memcmp(at, text, size) == 0


cdef inline const char* after_text(const char* at) noexcept:
    """What comes after a string without escapes; NULL where there is none."""
    if at[0] != b'"':
        return NULL
    at += 1
    while at[0] != b'"':
        if <uint8_t>at[0] < 32 or at[0] == b"\\":
            return NULL
        at += 1
    return at + 1


cdef inline const char* after_escapes(const char* at) noexcept:
    """What comes after a string, which may have escapes, right or wrong; NULL where there is none."""
    if at[0] != b'"':
        return NULL
    at += 1
    while at[0] != b'"':
        if at[0] == b"\\":
            at += 1
        if <uint8_t>at[0] < 32:
            return NULL
        at += 1
    return at + 1


cdef object text_at(const char** place):
    """The text of a string, behind which `place` is moved; None for what is none, or no UTF-8."""
    cdef const char* start = place[0]
    cdef const char* after = after_escapes(start)
    if after == NULL:
        return None
    text = decoded(start + 1, after - start - 2)
    if text is not None and "\\" in text:
        try:
            text = loads(f'"{text}"')
            text.encode()
        except ValueError:
            return None
    place[0] = after
    return text


cdef object decoded(const char* start, Py_ssize_t size):
    """The text, or None for what is no UTF-8."""
    try:
        return PyUnicode_DecodeUTF8(start, size, NULL)
    except UnicodeDecodeError:
        return None


cdef inline uint32_t mixed(uint32_t hash) noexcept:
    hash *= 2654435769u
    return hash ^ (hash >> 15)


cdef uint32_t hash_of(const char* text, Py_ssize_t size) noexcept:
    cdef uint32_t hash = 0
    cdef Py_ssize_t place
    for place in range(size):
        hash = hash * 31 + <uint8_t>text[place]
    return mixed(hash)


cdef inline int32_t place_of(
    const char* text, Py_ssize_t size, uint32_t hash, Column* column
) noexcept:
    """The place of the level with this text and hash; -1 where there is none."""
    cdef uint32_t slot = hash & column.mask
    cdef int32_t place = column.slots[slot]
    # There are more slots than levels, so an empty one ends the search.
    while place >= 0:
        if column.levels[place].size == size and memcmp(column.levels[place].text, text, size) == 0:
            break
        slot = (slot + 1) & column.mask
        place = column.slots[slot]
    return place


cdef inline const char* level_at(const char* at, Column* column, double* value) noexcept:
    """The place of a level; NULL for any other text."""
    cdef const char* start = at + 1
    cdef uint32_t hash = 0
    cdef int32_t place
    if at[0] != b'"':
        return NULL
    at = start
    while at[0] != b'"':
        if <uint8_t>at[0] < 32 or at[0] == b"\\":
            return NULL
        hash = hash * 31 + <uint8_t>at[0]
        at += 1
    place = place_of(start, at - start, mixed(hash), column)
    if place < 0:
        return NULL
    value[0] = place
    return at + 1


cdef const char* new_level_at(
    const char* at, Column* column, dict places, double* value
) except? NULL:
    """The place of any text, which may be behind the levels; NULL for none, and for too many."""
    cdef bytes level
    cdef int32_t place
    text = text_at(&at)
    if text is None:
        return NULL
    level = text.encode()
    place = place_of(level, len(level), hash_of(level, len(level)), column)
    if place < 0:
        if len(places) == MOST_NEW and text not in places:
            return NULL
        place = column.known + <int>places.setdefault(text, len(places))
    value[0] = place
    return at


cdef inline const char* after_digits(const char* at, uint64_t* whole) noexcept:
    """What comes after some digits, or none; they are put behind those of `whole`."""
    cdef uint8_t digit = <uint8_t>(at[0] - 48)
    while digit <= 9:
        whole[0] = whole[0] * 10 + digit
        at += 1
        digit = <uint8_t>(at[0] - 48)
    return at


cdef inline const char* number_at(const char* at, uint64_t largest, double* value) except? NULL:
    """The float64 nearest to a number; NULL for what is none, for -0, and beyond float64.

    With `largest` it has to be a whole one, written as such, and at most so far from zero.

    Up to 15 digits the number is a quotient or product of two that float64 holds, rounded once
    (Clinger 1990, "How to read floating point numbers accurately"). Up to 19 it is a quotient of
    whole numbers of 64 bits, of which 62 bits and whether there are more tell how to round. The
    rest is left to Python.
    """
    cdef const char* begin = at
    cdef const char* start
    cdef bint is_negative = at[0] == b"-"
    cdef uint64_t whole = 0, read = 0
    cdef int exponent = 0, power, digits, zeros
    cdef bint is_small
    cdef double found
    if is_negative:
        at += 1
    start = at
    at = after_digits(at, &whole)
    digits = <int>(at - start)
    if digits == 0 or (digits > 1 and start[0] == b"0"):
        return NULL
    if at[0] == b".":
        start = at + 1
        at = after_digits(start, &whole)
        if at == start:
            return NULL
        exponent = <int>(start - at)
        digits -= exponent
    if at[0] == b"e" or at[0] == b"E":
        at += 1
        is_small = at[0] == b"-"
        if is_small or at[0] == b"+":
            at += 1
        start = at
        at = after_digits(at, &read)
        if at == start:
            return NULL
        # Of more digits, Python tells what they are.
        power = <int>read if at - start <= 5 else 100000
        exponent += -power if is_small else power
        if largest:
            return NULL
    if largest and (exponent or digits > MOST_DIGITS or whole > largest):
        return NULL
    if digits > MOST_DIGITS:
        found = float(begin[: at - begin])
    elif whole == 0:
        if is_negative:
            return NULL
        found = 0
    elif exponent == 0:
        found = <double>whole
    elif whole <= 9007199254740992u and -22 <= exponent <= 22:
        found = <double>whole
        found = found / POWERS[-exponent] if exponent < 0 else found * POWERS[exponent]
    elif -19 <= exponent < 0:
        zeros = zeros_before(whole)
        digits = zeros_before(WHOLE_POWERS[-exponent])
        found = <double>quotient_of(whole << zeros, WHOLE_POWERS[-exponent] << digits)
        found = ldexp(found, digits - zeros - 63)
    else:
        found = float(begin[: at - begin])
    if isinf(found):
        return NULL
    value[0] = -found if is_negative and found > 0 else found
    return at
