/* Inner loops of the learner: a GRU over short sequences, and what follows a hidden layer's matrix product.
 *
 * Each function does in one pass over memory that stays in cache what a chain of array operators does in ten. Products
 * of large matrices are left to the BLAS. `kernels.py` compiles this file for the machine it runs on; `gru.py` and
 * `layers.py` call it, and hold the plain version of each function, to which the tests compare it.
 *
 * The file includes itself twice: functions end in _f32 for float and in _f64 for double.
 *
 * Shapes: T steps, S sequences, C inputs, Z state; B rows, W units of a layer.
 */
#ifndef REAL

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif
#ifdef _OPENMP
#include <omp.h>
#endif

/* Vectors of the machine's own size. ROWS sequences go through a recurrence together: so many that three sums for each
 * stay in the registers, and a weight that was loaded serves them all. */
#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#define ROWS 8
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#define ROWS 4
#elif defined(__aarch64__)
#define VECTOR_BYTES 16
#define ROWS 8
#else
#define VECTOR_BYTES 16
#define ROWS 4
#endif
#define INLINE static inline __attribute__((always_inline))
#define PARALLEL_SIZE 20000 /* numbers below which a second thread costs more than it saves */

static int64_t threads(void) {
#ifdef _OPENMP
    return omp_get_max_threads();
#else
    return 1;
#endif
}

/* exp(x) to 2 units in the last place: 2^n times a polynomial (Cephes' coefficients) on [-ln 2 / 2, ln 2 / 2]. */
INLINE float exp_f32(float x) {
    x = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
    float n = rintf(x * 1.44269504088896341f);
    float r = fmaf(n, -0.693359375f, x);
    r = fmaf(n, 2.12194440e-4f, r);
    float p = 1.9875691500e-4f;
    p = fmaf(p, r, 1.3981999507e-3f);
    p = fmaf(p, r, 8.3334519073e-3f);
    p = fmaf(p, r, 4.1665795894e-2f);
    p = fmaf(p, r, 1.6666665459e-1f);
    p = fmaf(p, r, 5.0000001201e-1f);
    p = fmaf(p, r * r, r + 1.0f);
    union { int32_t i; float f; } power = {((int32_t)n + 127) << 23};
    return p * power.f;
}
INLINE double exp_f64(double x) { return exp(x); }

#define REAL float
#define NAME(name) name##_f32
#include "kernels.c"
#undef REAL
#undef NAME
#define REAL double
#define NAME(name) name##_f64
#include "kernels.c"

#else

typedef REAL NAME(vector) __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)), may_alias));
#define VECTOR NAME(vector)
#define WIDE (VECTOR_BYTES / (int)sizeof(REAL)) /* numbers in a vector */
#define AT(pointer) (*(VECTOR *)(pointer))

INLINE REAL NAME(sigmoid)(REAL x) { return 1 / (1 + NAME(exp)(-x)); }
INLINE REAL NAME(tanh)(REAL x) {
    REAL a = x < 0 ? x : -x, e = NAME(exp)(2 * a), y = (1 - e) / (1 + e);
    return x < 0 ? -y : y;
}

/* The first `count` numbers of a vector (all of them, but in the last vector of a row), zeros after them. */
INLINE VECTOR NAME(load)(const REAL *from, int64_t count) {
    if (count == WIDE) return AT(from);
#ifdef __AVX512F__
    unsigned mask = (1u << count) - 1;
    return sizeof(REAL) == 4 ? (VECTOR)_mm512_maskz_loadu_ps(mask, from) : (VECTOR)_mm512_maskz_loadu_pd(mask, from);
#else
    VECTOR v = {0};
    for (int l = 0; l < WIDE; l++)
        if (l < count) v[l] = from[l];
    return v;
#endif
}
INLINE void NAME(store)(REAL *to, VECTOR v, int64_t count) {
    if (count == WIDE) {
        AT(to) = v;
        return;
    }
#ifdef __AVX512F__
    unsigned mask = (1u << count) - 1;
    if (sizeof(REAL) == 4)
        _mm512_mask_storeu_ps(to, mask, (__m512)v);
    else
        _mm512_mask_storeu_pd(to, mask, (__m512d)v);
#else
    for (int l = 0; l < WIDE; l++)
        if (l < count) to[l] = v[l];
#endif
}

/* Weights w_hh [3 Z, Z] as `gru_block` reads them: for every WIDE units, for every state k, three gates' vectors. */
static REAL *NAME(gru_pack)(int64_t Z, const REAL *w_hh) {
    int64_t chunks = (Z + WIDE - 1) / WIDE;
    REAL *packed = calloc(chunks * Z * 3 * WIDE, sizeof(REAL));
    for (int64_t row = 0; row < 3 * Z; row++) {
        int64_t gate = row / Z, unit = row % Z;
        REAL *to = packed + (unit / WIDE * Z * 3 + gate) * WIDE + unit % WIDE;
        for (int64_t k = 0; k < Z; k++) to[k * 3 * WIDE] = w_hh[row * Z + k];
    }
    return packed;
}

/* One block of ROWS sequences from `first` on, `rows` of which exist; see `gru_forward`. */
static void NAME(gru_block)(int64_t T, int64_t S, int64_t Z, const REAL *inputs, const REAL *initial,
                            const int64_t *start, const REAL *packed, const REAL *b_ih, const REAL *b_hh, int64_t from,
                            REAL *states, REAL *kept, int64_t first, int64_t rows) {
    int64_t chunks = (Z + WIDE - 1) / WIDE, padded = chunks * WIDE;
    REAL *scratch = calloc((2 * ROWS + 4) * padded, sizeof(REAL));
    REAL *h = scratch, *after = h + ROWS * padded, *biases = after + ROWS * padded; /* biases of r, u, n and m */
    for (int64_t j = 0; j < Z; j++) {
        biases[j] = b_ih[j] + b_hh[j], biases[padded + j] = b_ih[Z + j] + b_hh[Z + j];
        biases[2 * padded + j] = b_ih[2 * Z + j], biases[3 * padded + j] = b_hh[2 * Z + j];
    }
    for (int64_t i = 0; i < rows; i++) {
        if (initial) memcpy(h + i * padded, initial + (first + i) * Z, sizeof(REAL) * Z);
        if (from == 0) memcpy(states + (first + i) * Z, h + i * padded, sizeof(REAL) * Z);
    }
    for (int64_t t = 0; t < T; t++) {
        REAL *to = t + 1 < from ? 0 : states + ((t + 1 - from) * S + first) * Z;
        for (int64_t chunk = 0; chunk < chunks; chunk++) {
            int64_t unit = chunk * WIDE, count = Z - unit < WIDE ? Z - unit : WIDE;
            const REAL *w = packed + unit * Z * 3, *state = h;
            VECTOR sums[ROWS][3];
            for (int i = 0; i < ROWS; i++)
                sums[i][0] = AT(biases + unit), sums[i][1] = AT(biases + padded + unit),
                sums[i][2] = AT(biases + 3 * padded + unit);
            for (int64_t k = 0; k < Z; k++, w += 3 * WIDE, state++) {
                VECTOR r = AT(w), u = AT(w + WIDE), m = AT(w + 2 * WIDE);
                for (int i = 0; i < ROWS; i++) {
                    REAL x = state[i * padded];
                    sums[i][0] += r * x, sums[i][1] += u * x, sums[i][2] += m * x;
                }
            }
            for (int64_t i = 0; i < rows; i++) {
                const REAL *now = h + i * padded + unit, *input = inputs + (t * S + first + i) * 3 * Z + unit;
                REAL *next = after + i * padded + unit;
                if (start && t < start[first + i]) {
                    AT(next) = AT(now);
                } else {
                    REAL r[WIDE], u[WIDE], n[WIDE], m[WIDE], old[WIDE], new[WIDE];
                    AT(r) = sums[i][0] + NAME(load)(input, count), AT(u) = sums[i][1] + NAME(load)(input + Z, count);
                    AT(n) = NAME(load)(input + 2 * Z, count) + AT(biases + 2 * padded + unit), AT(m) = sums[i][2];
                    AT(old) = AT(now);
                    for (int l = 0; l < WIDE; l++) {
                        r[l] = NAME(sigmoid)(r[l]);
                        u[l] = NAME(sigmoid)(u[l]);
                        n[l] = NAME(tanh)(n[l] + r[l] * m[l]);
                        new[l] = n[l] + u[l] * (old[l] - n[l]);
                    }
                    AT(next) = AT(new);
                    if (kept) {
                        REAL *keep = kept + (t * S + first + i) * 4 * Z + unit;
                        NAME(store)(keep, AT(r), count), NAME(store)(keep + Z, AT(u), count);
                        NAME(store)(keep + 2 * Z, AT(n), count), NAME(store)(keep + 3 * Z, AT(m), count);
                    }
                }
                if (to) NAME(store)(to + i * Z + unit, AT(next), count);
            }
        }
        REAL *swap = h;
        h = after, after = swap;
    }
    free(scratch);
}

/* The states of S sequences. Gates stand in weights, biases and inputs in the order r, u, n.
 *
 * inputs [T, S, 3 Z] are the elements' products with W_ih; initial [S, Z] or NULL (zeros); start [S] or NULL: elements
 * before it leave the state as it is. states [T + 1 - from, S, Z] takes the states after `from` and more elements. kept
 * [T, S, 4 Z], or NULL, takes for `gru_backward` of every step r, u, n and m = W_hn h + b_hn.
 *
 * A sequence's states do not depend on the others, nor on the number of threads. */
void NAME(gru_forward)(int64_t T, int64_t S, int64_t Z, const REAL *inputs, const REAL *initial, const int64_t *start,
                       const REAL *w_hh, const REAL *b_ih, const REAL *b_hh, int64_t from, REAL *states, REAL *kept) {
    REAL *packed = NAME(gru_pack)(Z, w_hh);
#pragma omp parallel for schedule(static) if (T * S * Z > PARALLEL_SIZE)
    for (int64_t first = 0; first < S; first += ROWS)
        NAME(gru_block)(T, S, Z, inputs, initial, start, packed, b_ih, b_hh, from, states, kept, first,
                        S - first < ROWS ? S - first : ROWS);
    free(packed);
}

/* Adds to back [ROWS, padded], in the columns of `across` vectors, the products of grads [ROWS, 3, padded] with
 * w [3 Z, padded]. */
INLINE void NAME(gru_through)(int64_t Z, int64_t padded, const REAL *grads, const REAL *w, REAL *back, int across) {
    VECTOR sums[ROWS][2];
    for (int i = 0; i < ROWS; i++)
        for (int v = 0; v < across; v++) sums[i][v] = AT(back + i * padded + v * WIDE);
    for (int gate = 0; gate < 3; gate++) {
        const REAL *grad = grads + gate * padded;
        for (int64_t j = 0; j < Z; j++, w += padded, grad++)
            for (int v = 0; v < across; v++) {
                VECTOR weight = AT(w + v * WIDE);
                for (int i = 0; i < ROWS; i++) sums[i][v] += weight * grad[i * 3 * padded];
            }
    }
    for (int i = 0; i < ROWS; i++)
        for (int v = 0; v < across; v++) AT(back + i * padded + v * WIDE) = sums[i][v];
}

/* One block of the way back; see `gru_backward`. w [3 Z, padded] is w_hh with zeros beside it. */
static void NAME(gru_block_back)(int64_t T, int64_t S, int64_t Z, int64_t padded, const int64_t *start, const REAL *w,
                                 const REAL *states, const REAL *kept, int64_t from, const REAL *of_states,
                                 REAL *of_sums, REAL *of_initial, int64_t first, int64_t rows) {
    REAL *back = calloc(ROWS * 4 * padded, sizeof(REAL)), *grads = back + ROWS * padded;
    for (int64_t t = T - 1; t >= 0; t--) {
        for (int64_t i = 0; i < rows; i++) {
            int64_t row = t * S + first + i;
            const REAL *r = kept + row * 4 * Z, *u = r + Z, *n = u + Z, *m = n + Z, *h = states + row * Z;
            REAL *dr = of_sums + row * 4 * Z, *du = dr + Z, *dn = du + Z, *dm = dn + Z;
            REAL *dh = back + i * padded, *g = grads + i * 3 * padded;
            if (t + 1 >= from) {
                const REAL *more = of_states + ((t + 1 - from) * S + first + i) * Z;
                for (int64_t j = 0; j < Z; j++) dh[j] += more[j];
            }
            if (start && t < start[first + i]) {
                memset(dr, 0, sizeof(REAL) * 4 * Z), memset(g, 0, sizeof(REAL) * 3 * padded);
                continue;
            }
            for (int64_t j = 0; j < Z; j += WIDE) {
                int64_t count = Z - j < WIDE ? Z - j : WIDE;
                VECTOR r_ = NAME(load)(r + j, count), u_ = NAME(load)(u + j, count), n_ = NAME(load)(n + j, count);
                VECTOR m_ = NAME(load)(m + j, count), h_ = NAME(load)(h + j, count), e = AT(dh + j) * (1 - u_);
                VECTOR of_u = e * u_ * (h_ - n_), of_n = e * (1 - n_ * n_), of_m = of_n * r_, of_r = of_m * m_ * (1 - r_);
                AT(dh + j) *= u_;
                NAME(store)(dr + j, of_r, count), NAME(store)(du + j, of_u, count);
                NAME(store)(dn + j, of_n, count), NAME(store)(dm + j, of_m, count);
                AT(g + j) = of_r, AT(g + padded + j) = of_u, AT(g + 2 * padded + j) = of_m;
            }
        }
        int64_t column = 0;
        for (; column + 2 * WIDE <= padded; column += 2 * WIDE)
            NAME(gru_through)(Z, padded, grads, w + column, back + column, 2);
        if (column < padded) NAME(gru_through)(Z, padded, grads, w + column, back + column, 1);
    }
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < Z; j++) {
            int64_t at = (first + i) * Z + j;
            of_initial[at] = back[i * padded + j] + (from ? 0 : of_states[at]);
        }
    free(back);
}

/* From of_states [T + 1 - from, S, Z], the gradient of what `gru_forward` gave, all states [T + 1, S, Z] and what it
 * kept, to the gradients of_sums [T, S, 4 Z] of the sums before the non-linearities (r, u, n's input part, n's recurrent
 * part m), and of_initial [S, Z]. The weights' gradients are products of these with the elements and states. */
void NAME(gru_backward)(int64_t T, int64_t S, int64_t Z, const int64_t *start, const REAL *w_hh, const REAL *states,
                        const REAL *kept, int64_t from, const REAL *of_states, REAL *of_sums, REAL *of_initial) {
    int64_t padded = (Z + WIDE - 1) / WIDE * WIDE;
    REAL *w = calloc(3 * Z * padded, sizeof(REAL));
    for (int64_t row = 0; row < 3 * Z; row++) memcpy(w + row * padded, w_hh + row * Z, sizeof(REAL) * Z);
#pragma omp parallel for schedule(static) if (T * S * Z > PARALLEL_SIZE)
    for (int64_t first = 0; first < S; first += ROWS)
        NAME(gru_block_back)(T, S, Z, padded, start, w, states, kept, from, of_states, of_sums, of_initial, first,
                             S - first < ROWS ? S - first : ROWS);
    free(w);
}

/* After the products x [K, B, W] of a layer in K networks, in place: add bias [K, W]; then x becomes relu(x). If asked
 * to, normalise each row before: then x stays as normalised, inverse_std [K, B] is written, and relu(x) goes to out
 * [K, B, W]. With weight [K, W], a last layer of one unit, values [K, B] take the products of relu(x) with it, and out
 * is not written. */
void NAME(hidden_forward)(int64_t K, int64_t B, int64_t W, int64_t normalise, REAL epsilon, const REAL *bias, REAL *x,
                          REAL *inverse_std, REAL *out, const REAL *weight, REAL *values) {
#pragma omp parallel for schedule(static) if (K * B * W > PARALLEL_SIZE)
    for (int64_t i = 0; i < K * B; i++) {
        const REAL *shift = bias + i / B * W;
        REAL *row = x + i * W;
        if (normalise) {
            REAL sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
            for (int64_t j = 0; j < W; j++) sum += row[j] += shift[j];
            REAL mean = sum / W;
#pragma omp simd reduction(+ : squares)
            for (int64_t j = 0; j < W; j++) squares += (row[j] - mean) * (row[j] - mean);
            REAL scale = 1 / (REAL)sqrt(squares / W + epsilon);
            inverse_std[i] = scale;
            if (weight) {
                for (int64_t j = 0; j < W; j++) row[j] = (row[j] - mean) * scale;
            } else {
                REAL *to = out + i * W;
                for (int64_t j = 0; j < W; j++) {
                    REAL y = (row[j] - mean) * scale;
                    row[j] = y, to[j] = y < 0 ? 0 : y; /* this way round, NaN stays NaN */
                }
            }
        } else {
            for (int64_t j = 0; j < W; j++) {
                REAL y = row[j] + shift[j];
                row[j] = y < 0 ? 0 : y;
            }
        }
        if (weight) {
            const REAL *last = weight + i / B * W;
            REAL value = 0;
#pragma omp simd reduction(+ : value)
            for (int64_t j = 0; j < W; j++) value += (row[j] < 0 ? 0 : row[j]) * last[j];
            values[i] = value;
        }
    }
}

/* Back through `hidden_forward`: seen [K, B, W] is x as it left it if normalised, else its output. grad [K, B, W] takes
 * the gradient of the products, of_bias [K, W] its sums over rows. Without weight, of_out [K, B, W] is the gradient of
 * the output. With weight [K, W], that of the values, of_values [K, B], takes its place, and of_weight [K, W] takes the
 * weight's gradient. Where of_bias or of_weight is NULL, it is not computed. Sums over rows are made in one part for
 * each thread, and the parts added up in order: a thread count gives one result. */
void NAME(hidden_backward)(int64_t K, int64_t B, int64_t W, int64_t normalise, const REAL *seen,
                           const REAL *inverse_std, const REAL *of_out, const REAL *of_values, const REAL *weight,
                           REAL *grad, REAL *of_bias, REAL *of_weight) {
    int64_t parts = K * B * W > PARALLEL_SIZE ? threads() : 1;
    REAL *sums = calloc(parts * 2 * K * W, sizeof(REAL));
#pragma omp parallel for schedule(static, 1) if (parts > 1)
    for (int64_t part = 0; part < parts; part++) {
        for (int64_t i = part * K * B / parts; i < (part + 1) * K * B / parts; i++) {
            const REAL *row = seen + i * W;
            REAL *g = grad + i * W, *biases = sums + (part * 2 * K + i / B) * W, *weights = biases + K * W;
            if (weight) {
                const REAL *last = weight + i / B * W;
                REAL value = of_values[i];
                for (int64_t j = 0; j < W; j++) g[j] = row[j] > 0 ? value * last[j] : 0;
                if (of_weight)
                    for (int64_t j = 0; j < W; j++) weights[j] += row[j] > 0 ? value * row[j] : 0;
            } else {
                const REAL *given = of_out + i * W;
                for (int64_t j = 0; j < W; j++) g[j] = row[j] > 0 ? given[j] : 0;
            }
            if (normalise) {
                REAL sum = 0, along = 0;
#pragma omp simd reduction(+ : sum, along)
                for (int64_t j = 0; j < W; j++) sum += g[j], along += g[j] * row[j];
                REAL mean = sum / W, slope = along / W, scale = inverse_std[i];
                for (int64_t j = 0; j < W; j++) g[j] = scale * (g[j] - mean - row[j] * slope);
            }
            if (of_bias)
                for (int64_t j = 0; j < W; j++) biases[j] += g[j];
        }
    }
    if (of_bias) memset(of_bias, 0, sizeof(REAL) * K * W);
    if (of_weight) memset(of_weight, 0, sizeof(REAL) * K * W);
    for (int64_t part = 0; part < parts; part++)
        for (int64_t j = 0; j < K * W; j++) {
            if (of_bias) of_bias[j] += sums[part * 2 * K * W + j];
            if (of_weight) of_weight[j] += sums[(part * 2 + 1) * K * W + j];
        }
    free(sums);
}

#undef VECTOR
#undef WIDE
#undef AT
#endif
