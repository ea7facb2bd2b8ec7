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
#ifdef _OPENMP
#include <omp.h>
#endif

/* Vectors of the machine's own size, and so many side by side that three sums for each stay in registers and no sum
 * waits for the one before. */
#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#define WIDTH 2
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#define WIDTH 4
#else
#define VECTOR_BYTES 16
#define WIDTH 4
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
#define LANES (WIDTH * WIDE)                    /* sequences that go through the recurrence together */
#define AT(pointer) (*(VECTOR *)(pointer))

INLINE REAL NAME(sigmoid)(REAL x) { return 1 / (1 + NAME(exp)(-x)); }
INLINE REAL NAME(tanh)(REAL x) {
    REAL a = x < 0 ? x : -x, e = NAME(exp)(2 * a), y = (1 - e) / (1 + e);
    return x < 0 ? -y : y;
}

/* Sequences in a block. For each, `gru_forward` keeps T x 5 x Z x LANES numbers for `gru_backward`: of every step r, u,
 * n, W_hn h + b_hn and h. */
int64_t NAME(gru_lanes)(void) { return LANES; }

/* One block of sequences `first` .. `first + lanes - 1`. Gates stand in the weights in the order r, u, n.
 *
 * elements [T, S, C]; initial [S, Z] or NULL (zeros); start [S] or NULL: elements before it leave the state as it is.
 * states [T + 1 - from, S, Z] takes the states after `from` and more elements. kept: see `gru_lanes`, or NULL.
 */
static void NAME(gru_block)(int64_t T, int64_t S, int64_t C, int64_t Z, const REAL *elements, const REAL *initial,
                            const int64_t *start, const REAL *w_ih, const REAL *w_hh, const REAL *b_ih,
                            const REAL *b_hh, int64_t from, REAL *states, REAL *kept, int64_t first, int64_t lanes) {
    REAL *scratch = calloc((C + 2 * Z) * LANES, sizeof(REAL));
    REAL *x = scratch, *h = x + C * LANES, *after = h + Z * LANES;
    int64_t latest = 0;
    if (initial)
        for (int64_t l = 0; l < lanes; l++)
            for (int64_t j = 0; j < Z; j++) h[j * LANES + l] = initial[(first + l) * Z + j];
    if (start)
        for (int64_t l = 0; l < lanes; l++)
            if (start[first + l] > latest) latest = start[first + l];
    for (int64_t t = 0; t <= T; t++) {
        if (t >= from)
            for (int64_t l = 0; l < lanes; l++)
                for (int64_t j = 0; j < Z; j++) states[((t - from) * S + first + l) * Z + j] = h[j * LANES + l];
        if (t == T) break;
        for (int64_t l = 0; l < lanes; l++)
            for (int64_t c = 0; c < C; c++) x[c * LANES + l] = elements[(t * S + first + l) * C + c];
        REAL *keep = kept ? kept + t * 5 * Z * LANES : 0;
        for (int64_t j = 0; j < Z; j++) {
            VECTOR r[WIDTH], u[WIDTH], n[WIDTH], m[WIDTH];
            for (int v = 0; v < WIDTH; v++) {
                VECTOR zero = {0};
                r[v] = zero + (b_ih[j] + b_hh[j]), u[v] = zero + (b_ih[Z + j] + b_hh[Z + j]);
                n[v] = zero + b_ih[2 * Z + j], m[v] = zero + b_hh[2 * Z + j];
            }
            const REAL *wr = w_ih + j * C, *wu = w_ih + (Z + j) * C, *wn = w_ih + (2 * Z + j) * C;
            for (int64_t c = 0; c < C; c++)
                for (int v = 0; v < WIDTH; v++) {
                    VECTOR a = AT(x + c * LANES + v * WIDE);
                    r[v] += wr[c] * a, u[v] += wu[c] * a, n[v] += wn[c] * a;
                }
            wr = w_hh + j * Z, wu = w_hh + (Z + j) * Z, wn = w_hh + (2 * Z + j) * Z;
            for (int64_t k = 0; k < Z; k++)
                for (int v = 0; v < WIDTH; v++) {
                    VECTOR a = AT(h + k * LANES + v * WIDE);
                    r[v] += wr[k] * a, u[v] += wu[k] * a, m[v] += wn[k] * a;
                }
            REAL rs[LANES], us[LANES], ns[LANES], ms[LANES];
            memcpy(rs, r, sizeof r), memcpy(us, u, sizeof u), memcpy(ns, n, sizeof n), memcpy(ms, m, sizeof m);
            REAL *next = after + j * LANES, *now = h + j * LANES;
            for (int l = 0; l < LANES; l++) {
                rs[l] = NAME(sigmoid)(rs[l]);
                us[l] = NAME(sigmoid)(us[l]);
                ns[l] = NAME(tanh)(ns[l] + rs[l] * ms[l]);
                next[l] = ns[l] + us[l] * (now[l] - ns[l]);
            }
            if (keep) {
                REAL *own = keep + j * LANES;
                memcpy(own, rs, sizeof rs), memcpy(own + Z * LANES, us, sizeof us);
                memcpy(own + 2 * Z * LANES, ns, sizeof ns), memcpy(own + 3 * Z * LANES, ms, sizeof ms);
                memcpy(own + 4 * Z * LANES, now, sizeof(REAL) * LANES);
            }
        }
        if (t < latest)
            for (int64_t l = 0; l < lanes; l++)
                if (t < start[first + l])
                    for (int64_t j = 0; j < Z; j++) after[j * LANES + l] = h[j * LANES + l];
        REAL *swap = h;
        h = after, after = swap;
    }
    free(scratch);
}

/* All states of S sequences; see `gru_block`. kept: ceil(S / LANES) blocks of T x 5 x Z x LANES, or NULL. */
void NAME(gru_forward)(int64_t T, int64_t S, int64_t C, int64_t Z, const REAL *elements, const REAL *initial,
                       const int64_t *start, const REAL *w_ih, const REAL *w_hh, const REAL *b_ih, const REAL *b_hh,
                       int64_t from, REAL *states, REAL *kept) {
#pragma omp parallel for schedule(static) if (T * S * Z > PARALLEL_SIZE)
    for (int64_t first = 0; first < S; first += LANES) {
        int64_t lanes = S - first < LANES ? S - first : LANES;
        REAL *own = kept ? kept + first / LANES * T * 5 * Z * LANES : 0;
        NAME(gru_block)(T, S, C, Z, elements, initial, start, w_ih, w_hh, b_ih, b_hh, from, states, own, first, lanes);
    }
}

/* Adds to three rows of `columns` numbers each, out, the sums over steps and lanes of the products of three rows of a
 * with `columns` rows of b. A row has LANES numbers a step, the next step's a_step or b_step further on. */
#define ACROSS 4 /* columns whose sums stay in registers together, three rows each */
static void NAME(add_products)(int64_t T, int64_t columns, const REAL *a, int64_t a_row, int64_t a_step, const REAL *b,
                               int64_t b_row, int64_t b_step, REAL *const out[3]) {
    for (int64_t first = 0; first < columns; first += ACROSS) {
        int64_t across = columns - first < ACROSS ? columns - first : ACROSS;
        VECTOR sums[3][ACROSS] = {{{0}}};
        for (int64_t t = 0; t < T; t++)
            for (int v = 0; v < WIDTH; v++) {
                const REAL *p = a + t * a_step + v * WIDE, *q = b + first * b_row + t * b_step + v * WIDE;
                VECTOR a0 = AT(p), a1 = AT(p + a_row), a2 = AT(p + 2 * a_row);
                if (across == ACROSS) /* the usual case, unrolled */
                    for (int c = 0; c < ACROSS; c++) {
                        VECTOR x = AT(q + c * b_row);
                        sums[0][c] += a0 * x, sums[1][c] += a1 * x, sums[2][c] += a2 * x;
                    }
                else
                    for (int c = 0; c < across; c++) {
                        VECTOR x = AT(q + c * b_row);
                        sums[0][c] += a0 * x, sums[1][c] += a1 * x, sums[2][c] += a2 * x;
                    }
            }
        for (int row = 0; row < 3; row++)
            for (int c = 0; c < across; c++) {
                REAL sum = 0;
                for (int i = 0; i < WIDE; i++) sum += sums[row][c][i];
                out[row][first + c] += sum;
            }
    }
}

/* One block of the way back; see `gru_backward`. grads takes the block's part of all gradients, in the order of_w_ih,
 * of_w_hh, of_b_ih, of_b_hh. */
static void NAME(gru_block_back)(int64_t T, int64_t S, int64_t C, int64_t Z, const REAL *elements,
                                 const int64_t *start, const REAL *w_hh, int64_t from, const REAL *of_states,
                                 const REAL *kept, REAL *grads, int64_t first, int64_t lanes) {
    int64_t size = Z * LANES;
    /* By step: gradients of the sums before the non-linearities, dn (its input part), dr, du, dm (its recurrent part); x. */
    REAL *sums = malloc(sizeof(REAL) * T * 4 * size), *x = calloc(T * C * LANES, sizeof(REAL));
    REAL *dh = calloc(size, sizeof(REAL));
    for (int64_t t = T - 1; t >= 0; t--) {
        const REAL *r = kept + t * 5 * size, *u = r + size, *n = u + size, *m = n + size, *h = m + size;
        REAL *dn = sums + t * 4 * size, *dr = dn + size, *du = dr + size, *dm = du + size;
        for (int64_t l = 0; l < lanes; l++)
            for (int64_t c = 0; c < C; c++) x[(t * C + c) * LANES + l] = elements[(t * S + first + l) * C + c];
        if (t + 1 >= from)
            for (int64_t l = 0; l < lanes; l++)
                for (int64_t j = 0; j < Z; j++)
                    dh[j * LANES + l] += of_states[((t + 1 - from) * S + first + l) * Z + j];
        if (start)
            for (int64_t l = 0; l < lanes; l++)
                if (t < start[first + l])
                    for (int64_t j = 0; j < Z; j++) dh[j * LANES + l] = 0;
        for (int64_t i = 0; i < size; i++) {
            REAL g = dh[i] * (1 - u[i]);
            du[i] = g * u[i] * (h[i] - n[i]);
            dn[i] = g * (1 - n[i] * n[i]);
            dm[i] = dn[i] * r[i];
            dr[i] = dm[i] * m[i] * (1 - r[i]);
            dh[i] *= u[i];
        }
        for (int64_t k = 0; k < Z; k++) {
            VECTOR back[WIDTH];
            memcpy(back, dh + k * LANES, sizeof back);
            for (int64_t j = 0; j < Z; j++) {
                REAL wr = w_hh[j * Z + k], wu = w_hh[(Z + j) * Z + k], wn = w_hh[(2 * Z + j) * Z + k];
                for (int v = 0; v < WIDTH; v++)
                    back[v] += wr * AT(dr + j * LANES + v * WIDE) + wu * AT(du + j * LANES + v * WIDE) +
                               wn * AT(dm + j * LANES + v * WIDE);
            }
            memcpy(dh + k * LANES, back, sizeof back);
        }
    }
    REAL *of_w_ih = grads, *of_w_hh = of_w_ih + 3 * Z * C, *of_b_ih = of_w_hh + 3 * Z * Z, *of_b_hh = of_b_ih + 3 * Z;
    for (int64_t j = 0; j < Z; j++) {
        REAL *const ih[3] = {of_w_ih + (2 * Z + j) * C, of_w_ih + j * C, of_w_ih + (Z + j) * C}; /* n, r, u */
        REAL *const hh[3] = {of_w_hh + j * Z, of_w_hh + (Z + j) * Z, of_w_hh + (2 * Z + j) * Z}; /* r, u, m */
        const REAL *own = sums + j * LANES;
        NAME(add_products)(T, C, own, size, 4 * size, x, LANES, C * LANES, ih);
        NAME(add_products)(T, Z, own + size, size, 4 * size, kept + 4 * size, LANES, 5 * size, hh);
        REAL totals[4]; /* n, r, u, m */
        for (int sum = 0; sum < 4; sum++) {
            VECTOR lanewise = {0};
            for (int64_t t = 0; t < T; t++)
                for (int v = 0; v < WIDTH; v++) lanewise += AT(own + (t * 4 + sum) * size + v * WIDE);
            totals[sum] = 0;
            for (int i = 0; i < WIDE; i++) totals[sum] += lanewise[i];
        }
        of_b_ih[j] += totals[1], of_b_ih[Z + j] += totals[2], of_b_ih[2 * Z + j] += totals[0];
        of_b_hh[j] += totals[1], of_b_hh[Z + j] += totals[2], of_b_hh[2 * Z + j] += totals[3];
    }
    free(sums), free(x), free(dh);
}
/* From of_states [T + 1 - from, S, Z], the gradient of what `gru_forward` gave and kept, to the gradients of weights and
 * biases: of_w_ih [3 Z, C], of_w_hh [3 Z, Z], of_b_ih [3 Z], of_b_hh [3 Z]. Each thread sums up its own blocks, and the threads'
 * sums are added in order: a thread count gives one result. */
void NAME(gru_backward)(int64_t T, int64_t S, int64_t C, int64_t Z, const REAL *elements, const int64_t *start,
                        const REAL *w_hh, int64_t from, const REAL *of_states, const REAL *kept, REAL *of_w_ih,
                        REAL *of_w_hh, REAL *of_b_ih, REAL *of_b_hh) {
    int64_t blocks = (S + LANES - 1) / LANES, size = 3 * Z * (C + Z + 2);
    int64_t parts = blocks < threads() ? blocks : threads();
    REAL *sums = calloc(parts * size, sizeof(REAL));
#pragma omp parallel for schedule(static, 1) if (parts > 1)
    for (int64_t part = 0; part < parts; part++)
        for (int64_t block = part * blocks / parts; block < (part + 1) * blocks / parts; block++) {
            int64_t first = block * LANES, lanes = S - first < LANES ? S - first : LANES;
            NAME(gru_block_back)(T, S, C, Z, elements, start, w_hh, from, of_states,
                                 kept + block * T * 5 * Z * LANES, sums + part * size, first, lanes);
        }
    for (int64_t part = 1; part < parts; part++)
        for (int64_t i = 0; i < size; i++) sums[i] += sums[part * size + i];
    const REAL *total = sums;
    memcpy(of_w_ih, total, sizeof(REAL) * 3 * Z * C), total += 3 * Z * C;
    memcpy(of_w_hh, total, sizeof(REAL) * 3 * Z * Z), total += 3 * Z * Z;
    memcpy(of_b_ih, total, sizeof(REAL) * 3 * Z), total += 3 * Z;
    memcpy(of_b_hh, total, sizeof(REAL) * 3 * Z);
    free(sums);
}

/* After the products x [K, B, W] of a layer in K networks, in place: add bias [K, W], normalise each row if asked to
 * (then inverse_std [K, B] is written), and write relu(x) to out [K, B, W]. With weight [K, W], values [K, B] take the
 * products of out's rows with it: a last layer of one unit. */
void NAME(hidden_forward)(int64_t K, int64_t B, int64_t W, int64_t normalise, REAL epsilon, const REAL *bias, REAL *x,
                          REAL *inverse_std, REAL *out, const REAL *weight, REAL *values) {
#pragma omp parallel for schedule(static) if (K * B * W > PARALLEL_SIZE)
    for (int64_t i = 0; i < K * B; i++) {
        const REAL *shift = bias + i / B * W;
        REAL *row = x + i * W, *to = out + i * W;
        if (normalise) {
            REAL sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
            for (int64_t j = 0; j < W; j++) sum += row[j] += shift[j];
            REAL mean = sum / W;
#pragma omp simd reduction(+ : squares)
            for (int64_t j = 0; j < W; j++) squares += (row[j] - mean) * (row[j] - mean);
            REAL scale = 1 / (REAL)sqrt(squares / W + epsilon);
            inverse_std[i] = scale;
            for (int64_t j = 0; j < W; j++) {
                REAL y = (row[j] - mean) * scale;
                row[j] = y, to[j] = y < 0 ? 0 : y; /* this way round, NaN stays NaN */
            }
        } else {
            for (int64_t j = 0; j < W; j++) {
                REAL y = row[j] + shift[j];
                to[j] = y < 0 ? 0 : y;
            }
        }
        if (weight) {
            const REAL *last = weight + i / B * W;
            REAL value = 0;
#pragma omp simd reduction(+ : value)
            for (int64_t j = 0; j < W; j++) value += to[j] * last[j];
            values[i] = value;
        }
    }
}

/* Back through `hidden_forward`: seen [K, B, W] is x as it left it if normalised, else its output. grad [K, B, W] of
 * its output becomes that of its input, in place; of_bias [K, W] takes the sums over rows. With weight [K, W], grad is
 * only written: what comes is its product with of_values [K, B]; and of_weight [K, W] takes the weight's gradient.
 * The sums are made in parts of rows, one per thread, and added up in order: a thread count gives one result. */
void NAME(hidden_backward)(int64_t K, int64_t B, int64_t W, int64_t normalise, const REAL *seen,
                           const REAL *inverse_std, const REAL *of_values, const REAL *weight, REAL *grad,
                           REAL *of_bias, REAL *of_weight) {
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
                for (int64_t j = 0; j < W; j++) {
                    g[j] = row[j] > 0 ? value * last[j] : 0;
                    weights[j] += row[j] > 0 ? value * row[j] : 0;
                }
            } else {
                for (int64_t j = 0; j < W; j++) g[j] = row[j] > 0 ? g[j] : 0;
            }
            if (normalise) {
                REAL sum = 0, along = 0;
#pragma omp simd reduction(+ : sum, along)
                for (int64_t j = 0; j < W; j++) sum += g[j], along += g[j] * row[j];
                REAL mean = sum / W, slope = along / W, scale = inverse_std[i];
                for (int64_t j = 0; j < W; j++) g[j] = scale * (g[j] - mean - row[j] * slope);
            }
            for (int64_t j = 0; j < W; j++) biases[j] += g[j];
        }
    }
    memset(of_bias, 0, sizeof(REAL) * K * W);
    if (weight) memset(of_weight, 0, sizeof(REAL) * K * W);
    for (int64_t part = 0; part < parts; part++)
        for (int64_t j = 0; j < K * W; j++) {
            of_bias[j] += sums[part * 2 * K * W + j];
            if (weight) of_weight[j] += sums[(part * 2 + 1) * K * W + j];
        }
    free(sums);
}

#undef VECTOR
#undef WIDE
#undef LANES
#undef AT
#endif
