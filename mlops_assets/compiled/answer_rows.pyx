# cython: language_level=3, wraparound=False, cdivision=True
"""The list of many predictions in JSON, put together without an object for each piece."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.string cimport memchr, memcpy


def answer_rows(
    bytes start,
    bytes numbers,
    list before_first,
    const Py_ssize_t[::1] first,
    list before_next,
    bytes end,
):
    """A list of objects, one for each of `first`, of shape (n,).

    Object i is `start`, the text of i, `before_first[first[i]]`, a number, and each of
    `before_next` with a number after it, then `end`. `numbers` is the JSON of the list of all
    numbers in their order, without spaces. Raises ValueError where there are not as many,
    IndexError for a place that `before_first` does not have.
    """
    cdef Py_ssize_t rows = first.shape[0], each = 1 + len(before_next), row, column, size
    cdef const char* number = numbers
    cdef const char* last = number + len(numbers) - 1
    cdef const char* after
    cdef char* at
    is_list = numbers.startswith(b"[") and numbers.endswith(b"]")
    if not is_list or numbers.count(b",") != rows * each - 1:
        raise ValueError(f"these are not {rows * each} numbers in a list")
    # All that follows is as long as this says, since between the commas there are as many numbers.
    size = rows + len(numbers) - rows * each
    size += rows * (len(start) + len(b"".join(before_next)) + len(end)) + digits_below(rows)
    for row in range(rows):
        if not 0 <= first[row] < len(before_first):
            raise IndexError(f"there is nothing to begin with for {first[row]}")
        size += len(<bytes?>before_first[first[row]])
    found = PyBytes_FromStringAndSize(NULL, size)
    at = PyBytes_AS_STRING(found)
    for row in range(rows):
        at[0] = b"," if row else b"["
        at = put_count(put(at + 1, start), row)
        at = put(at, <bytes>before_first[first[row]])
        for column in range(each):
            if column:
                at = put(at, <bytes>before_next[column - 1])
            # In front of each number is what separates it from the one before.
            number += 1
            after = <const char*>memchr(number, b",", last - number)
            after = last if after == NULL else after
            memcpy(at, number, after - number)
            at += after - number
            number = after
        at = put(at, end)
    at[0] = b"]"
    assert at + 1 == PyBytes_AS_STRING(found) + size
    return found


cdef inline char* put(char* at, bytes text):
    memcpy(at, PyBytes_AS_STRING(text), len(text))
    return at + len(text)


cdef inline char* put_count(char* at, Py_ssize_t number) noexcept:
    cdef char[20] digits
    cdef int place = 20
    while True:
        place -= 1
        digits[place] = <char>(48 + number % 10)
        number //= 10
        if number == 0:
            break
    memcpy(at, &digits[place], 20 - place)
    return at + 20 - place


cdef Py_ssize_t digits_below(Py_ssize_t rows) noexcept:
    """How many digits the numbers below `rows` have."""
    cdef Py_ssize_t found = 0, begin = 0, end = 10, size = 1
    while begin < rows:
        found += size * (min(end, rows) - begin)
        begin = end
        end *= 10
        size += 1
    return found
