/* Many MuJoCo simulations advanced by one call: see lanes.py. Nothing here knows how MuJoCo lays out its data. */

#include <stdint.h>
#include <string.h>

typedef void (*simulate)(const void *model, void *data);

/* Lane i is models[i] with data[i]. Block j of what a lane is told has to_sizes[j] numbers and goes to the place
   to[i * blocks_to + j]; what is read comes from the places `from` in the same way. `told` and `seen` are lanes in
   rows, blocks one after the other in a row. Lanes with skip[i] are left as they are. A control step is the functions
   `first` in turn, then `step` so many times, then `forward`. */
void advance_lanes(int64_t lanes, const void *const *models, void *const *data, const uint8_t *skip,
                   int64_t firsts, const simulate *first, int64_t steps, simulate step, simulate forward,
                   int64_t blocks_to, const int64_t *to_sizes, double *const *to, const double *told,
                   int64_t blocks_from, const int64_t *from_sizes, const double *const *from, double *seen)
{
    int64_t told_size = 0, seen_size = 0;
    for (int64_t j = 0; j < blocks_to; j++) told_size += to_sizes[j];
    for (int64_t j = 0; j < blocks_from; j++) seen_size += from_sizes[j];
    for (int64_t i = 0; i < lanes; i++) {
        if (skip[i]) continue;
        const double *given = told + i * told_size;
        for (int64_t j = 0; j < blocks_to; j++) {
            memcpy(to[i * blocks_to + j], given, to_sizes[j] * sizeof(double));
            given += to_sizes[j];
        }
        for (int64_t k = 0; k < firsts; k++) first[k](models[i], data[i]);
        for (int64_t k = 0; k < steps; k++) step(models[i], data[i]);
        forward(models[i], data[i]);
        double *found = seen + i * seen_size;
        for (int64_t j = 0; j < blocks_from; j++) {
            memcpy(found, from[i * blocks_from + j], from_sizes[j] * sizeof(double));
            found += from_sizes[j];
        }
    }
}
