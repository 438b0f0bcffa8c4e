# cython: language_level=3, cdivision=True
"""QuickScorer over many rows: what `NumpyScorer` of `domain.tree_scoring` does, without the GIL."""

cimport cython
from libc.stdint cimport int32_t, uint64_t

import numpy as np

from mlops_assets.domain.threshold_bins import CELLS, grid_of

cdef extern from *:
    # How many zeros lie below the lowest one of a word; undefined where there is none.
    int zeros_below "__builtin_ctzll"(unsigned long long word) nogil

cdef enum:
    # Rows of which the places are looked up together.
    BLOCK = 64
    # Tables of which the masks are put together at once.
    TOGETHER = 4
    # Leaves per word of masks: of one tree of up to 64 leaves, or of two of up to 32.
    WORD = 64


@cython.final
cdef class QuickScorer:
    """Sums of the leaves that the masks leave over, for each output.

    Takes what `NumpyScorer` takes, and raises ValueError where it does not fit together: whatever
    the kernel relies on is checked here, and copied, so that nobody can change it later.
    """

    # Of each feature: its column, its grid (see `threshold_bins`), how many times a search halves
    # what is in a cell, how many thresholds it has and where they start, and the place to which
    # a bin leads: so many times the bin, in that table.
    cdef const Py_ssize_t[::1] columns
    cdef const float[::1] origins
    cdef const float[::1] scales
    cdef const int32_t[:, ::1] below
    cdef const int32_t[::1] halvings
    cdef const int32_t[::1] counts
    cdef const Py_ssize_t[::1] starts
    cdef const int32_t[::1] tables
    cdef const int32_t[::1] strides
    # One feature's after another's, each followed by NaN, which nothing passes.
    cdef const float[::1] thresholds
    # The row of masks at which each table starts. The first row rules out nothing, and is the
    # table of those that make their number a multiple of TOGETHER.
    cdef const int32_t[::1] firsts
    cdef const uint64_t[:, ::1] masks
    cdef const double[:, ::1] leaves
    # The words of output k are those from `outputs[k]` up to `outputs[k + 1]`.
    cdef const Py_ssize_t[::1] outputs
    cdef bint is_strict
    cdef bint is_narrow
    cdef Py_ssize_t least_columns

    def __cinit__(self, columns, thresholds, bint is_strict, tables, leaves, slices):
        self.is_strict = is_strict
        self._take_features(columns, thresholds)
        self._take_places(tables, [len(one) for one in thresholds])
        self._take_masks([one.masks for one in tables], leaves, slices)

    cdef _take_features(self, columns, thresholds):
        _check(len(columns) == len(thresholds), "each feature needs a column and thresholds")
        _check(all(0 <= one < 2**31 for one in columns), "a column is out of range")
        for one in thresholds:
            _check(one.dtype == np.float32 and one.ndim == 1, "thresholds must be float32")
            _check(0 < len(one) < 2**24, "a feature has no thresholds, or too many")
            _check((one[1:] > one[:-1]).all() and one[0] == one[0], "thresholds must be sorted")
        grids = [grid_of(one) for one in thresholds]
        halvings = [int(grid.most).bit_length() for grid in grids]
        padded = []
        for one, grid, halving in zip(thresholds, grids, halvings):
            _check(
                0 <= grid.below.min() and grid.below.max() <= len(one) and grid.most <= len(one),
                "a grid does not fit its thresholds",
            )
            # As far as a search that starts at the last one looks.
            padded.append(np.append(one, np.full(2**halving, np.nan, dtype=np.float32)))
        self.columns = np.array(columns, dtype=np.intp)
        self.least_columns = max(columns, default=-1) + 1
        self.origins = np.array([grid.origin for grid in grids], dtype=np.float32)
        self.scales = np.array([grid.scale for grid in grids], dtype=np.float32)
        below = [grid.below for grid in grids]
        self.below = np.array(below, dtype=np.int32).reshape(-1, CELLS)
        self.halvings = np.array(halvings, dtype=np.int32)
        self.counts = np.array([len(one) for one in thresholds], dtype=np.int32)
        self.starts = np.cumsum([0, *map(len, padded)], dtype=np.intp)
        self.thresholds = np.concatenate([*padded, np.empty(0, dtype=np.float32)])

    cdef _take_places(self, tables, counts):
        features = len(counts)
        owners = np.full(features, -1, dtype=np.int32)
        steps = np.zeros(features, dtype=np.int32)
        first, firsts = 1, []
        for number, table in enumerate(tables):
            of, strides, masks = table.features, table.strides, table.masks
            _check(len(of) == len(strides), "each feature of a table needs a stride")
            last = 0
            for feature, stride in zip(of, strides):
                _check(0 <= feature < features, "a table has an unknown feature")
                _check(owners[feature] < 0, "a feature is in two tables")
                _check(0 <= stride <= len(masks), "a stride does not fit its table")
                owners[feature], steps[feature] = number, stride
                last += stride * (counts[feature] + 1)
            _check(last < len(masks), "a table has no masks for some bins")
            firsts.append(first)
            first += len(masks)
        _check((owners >= 0).all(), "a feature is in no table")
        _check(first < 2**31, "there are too many masks")
        # At least one, for trees that ask for no feature.
        while not firsts or len(firsts) % TOGETHER:
            firsts.append(0)
        self.tables, self.strides = owners, steps
        self.firsts = np.array(firsts, dtype=np.int32)

    cdef _take_masks(self, masks, leaves, slices):
        _check(leaves.ndim == 2 and leaves.shape[1] in (32, 64), "a tree needs 32 or 64 leaves")
        trees, width = leaves.shape
        self.is_narrow = width == 32
        dtype = np.dtype(f"u{width // 8}")
        for one in masks:
            _check(one.dtype == dtype and one.shape[1:] == (trees,), "masks do not fit the leaves")
        whole = np.concatenate([np.full((1, trees), ~dtype.type(0)), *masks])
        # No feature rules out the last leaf, so that one is always left, however they combine.
        _check((whole >> dtype.type(width - 1)).all(), "a mask rules out the last leaf")
        _check(len(slices) > 0, "there is no output")
        words, values = [], []
        for one in slices:
            _check(0 <= one.start < one.stop <= trees, "an output has trees that there are not")
            own = _words(whole[:, one])
            added = np.zeros((own.shape[1], WORD))
            added.reshape(-1, width)[: one.stop - one.start] = leaves[one]
            words.append(own)
            values.append(added)
        self.masks = np.ascontiguousarray(np.concatenate(words, axis=1))
        self.leaves = np.concatenate(values)
        self.outputs = np.cumsum([0, *map(len, values)], dtype=np.intp)

    def sums(self, const float[:, :] matrix not None):
        """Sums of shape (n, outputs), float32, for a float32 matrix of shape (n, features).

        Raises ValueError for a matrix of other numbers or with too few columns.
        """
        _check(matrix.shape[1] >= self.least_columns, "the matrix has too few columns")
        found = np.empty((matrix.shape[0], len(self.outputs) - 1), dtype=np.float32)
        # Each call has its own, for threads call at once.
        places = np.empty((BLOCK, len(self.firsts)), dtype=np.int32)
        alive = np.empty(len(self.leaves), dtype=np.uint64)
        cdef float[:, ::1] sums = found
        cdef int32_t[:, ::1] place = places
        cdef uint64_t[::1] word = alive
        cdef Py_ssize_t block, first, row, rows
        with nogil:
            for block in range((matrix.shape[0] + BLOCK - 1) // BLOCK):
                first = block * BLOCK
                rows = min(<Py_ssize_t>BLOCK, matrix.shape[0] - first)
                self._place(matrix[first : first + rows], place)
                for row in range(rows):
                    self._rule_out(&place[row, 0], &word[0])
                    self._add(&word[0], &sums[first + row, 0])
        return found

    # No bounds are checked from here on. `sums` has seen to the matrix, and all else depends on it
    # only by the bins. Whatever a value is, its cell is one of CELLS; a search starts at one of the
    # feature's thresholds or after the last, goes on only past what its value passes, so never
    # past the NaN, and thus ends with as many to its left as there are, or fewer. For these bins
    # and the one of NaN `_take_places` has found masks in each table.

    @cython.boundscheck(False)
    @cython.wraparound(False)
    cdef void _place(self, const float[:, :] matrix, int32_t[:, ::1] places) noexcept nogil:
        """The row of masks in each table, for up to BLOCK rows of the matrix."""
        cdef float[BLOCK] values
        cdef int32_t[BLOCK] bins
        cdef Py_ssize_t rows = matrix.shape[0]
        cdef Py_ssize_t row, feature, table, column
        cdef float at, origin, scale, last = self.below.shape[1] - 1
        cdef const int32_t *below
        cdef const float *thresholds
        cdef int32_t half, stride, missing, found
        for row in range(rows):
            for table in range(self.firsts.shape[0]):
                places[row, table] = self.firsts[table]
        for feature in range(self.columns.shape[0]):
            column = self.columns[feature]
            for row in range(rows):
                values[row] = matrix[row, column]
            origin, scale = self.origins[feature], self.scales[feature]
            for row in range(rows):
                # As `threshold_bins` does it, to the bit; NaN is not above 0.
                at = (values[row] - origin) * scale
                at = at if at > 0 else 0
                at = at if at < last else last
                bins[row] = <int32_t>at
            below = &self.below[feature, 0]
            for row in range(rows):
                bins[row] = below[bins[row]]
            half = 1 << self.halvings[feature]
            while half > 1:
                half >>= 1
                thresholds = &self.thresholds[self.starts[feature] + half - 1]
                if self.is_strict:
                    for row in range(rows):
                        bins[row] += half if values[row] >= thresholds[bins[row]] else 0
                else:
                    for row in range(rows):
                        bins[row] += half if values[row] > thresholds[bins[row]] else 0
            table, stride = self.tables[feature], self.strides[feature]
            missing = self.counts[feature] + 1
            for row in range(rows):
                found = bins[row] if values[row] == values[row] else missing
                places[row, table] += stride * found

    @cython.boundscheck(False)
    @cython.wraparound(False)
    cdef void _rule_out(self, const int32_t *places, uint64_t *alive) noexcept nogil:
        """Which leaves of each tree all tables leave over: at least the last one."""
        cdef Py_ssize_t turn, word, words = self.masks.shape[1]
        cdef const uint64_t *a
        cdef const uint64_t *b
        cdef const uint64_t *c
        cdef const uint64_t *d
        for turn in range(self.firsts.shape[0] // TOGETHER):
            a = &self.masks[places[0], 0]
            b = &self.masks[places[1], 0]
            c = &self.masks[places[2], 0]
            d = &self.masks[places[3], 0]
            places += TOGETHER
            if turn == 0:
                for word in range(words):
                    alive[word] = a[word] & b[word] & c[word] & d[word]
            else:
                for word in range(words):
                    alive[word] &= a[word] & b[word] & c[word] & d[word]

    @cython.boundscheck(False)
    @cython.wraparound(False)
    cdef void _add(self, const uint64_t *alive, float *sums) noexcept nogil:
        """The sum of the first leaves left over, for each output."""
        cdef Py_ssize_t output, word
        cdef double even, odd
        cdef const double *leaves
        for output in range(self.outputs.shape[0] - 1):
            even = odd = 0
            for word in range(self.outputs[output], self.outputs[output + 1]):
                leaves = &self.leaves[word, 0]
                even += leaves[zeros_below(alive[word])]
                if self.is_narrow:
                    odd += leaves[WORD // 2 + zeros_below(alive[word] >> (WORD // 2))]
            sums[output] = <float>(even + odd)


cdef _check(bint is_so, message):
    if not is_so:
        raise ValueError(message)


cdef _words(masks):
    """Masks of 64 bits as they are, those of 32 in pairs: the first is the lower half."""
    if masks.dtype.itemsize == 8:
        return masks
    if masks.shape[1] % 2:
        masks = np.append(masks, np.full((len(masks), 1), ~np.uint32(0)), axis=1)
    return masks[:, ::2] | masks[:, 1::2].astype(np.uint64) << np.uint64(32)
