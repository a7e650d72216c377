/* MPE's simple_spread (mpe2's simple_spread_v3), one environment at a time: N agents, which push each other off, and N
 * landmarks to be covered.
 *
 * A state is 6 N doubles: the agents' positions (N, 2), their velocities (N, 2), the landmarks' positions (N, 2).
 * The operations stand in the order in which mpe2 does them, each rounded where its are, so that states and rewards are
 * its to the last bit where NumPy's logaddexp takes exp and log1p from the same C library. */
#ifndef MINIRL_SIMPLE_SPREAD_H
#define MINIRL_SIMPLE_SPREAD_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "classic_control.h" /* Bits */
#include "kernel_limits.h"

typedef struct {
    ptrdiff_t envs, agents; /* B, N */
    int continuous;         /* an action is 5 floats, else one integer in 0..4 */
    int64_t limit;          /* steps to an episode */
    double local_ratio;     /* how much of a reward are the agent's own collisions; the rest is the team's distance */
} Spread;

static const double SPREAD_REACH = 0.15 + 0.15; /* two agents touch below this distance */

static inline double spread_distance(const double *a, const double *b)
{
    const double dx = a[0] - b[0], dy = a[1] - b[1];
    return sqrt(dx * dx + dy * dy);
}

/* log(1 + e^x), as NumPy's logaddexp(0, x) adds it up. Below −38 log1p(e^x) is e^x to the last bit, below −746 it is 0:
 * most agents are that far apart. */
static inline double spread_softplus(double x)
{
    if (x < -746.0) return 0.0;
    if (x < -38.0) return exp(x);
    return x > 0 ? x + log1p(exp(-x)) : x == 0 ? 0.693147180559945309417232121458176568 : log1p(exp(x));
}

/* Force of an action: 0 nothing, 1 left, 2 right, 3 down, 4 up; or how much of each, cut to [0, 1] */
static inline void spread_push(const Spread *env, const void *action, ptrdiff_t row, double *force)
{
    if (env->continuous) {
        const float *a = (const float *)action + 5 * row;
        float cut[5];
        for (int k = 0; k < 5; k++) cut[k] = a[k] < 0 ? 0 : a[k] > 1 ? 1 : a[k];
        force[0] = (double)(cut[2] - cut[1]) * 5.0;
        force[1] = (double)(cut[4] - cut[3]) * 5.0;
    } else {
        const int64_t a = ((const int64_t *)action)[row];
        force[0] = a == 1 ? -5.0 : a == 2 ? 5.0 : 0.0;
        force[1] = a == 3 ? -5.0 : a == 4 ? 5.0 : 0.0;
    }
}

/* Agents that touch push each other off: 100 N times how deep they are in each other, softened over 1 mm. */
static inline void spread_collide(const double *position, double *force, ptrdiff_t N)
{
    for (ptrdiff_t a = 0; a < N; a++)
        for (ptrdiff_t b = a + 1; b < N; b++) {
            const double *p = position + 2 * a, *q = position + 2 * b;
            const double distance = spread_distance(p, q);
            const double depth = spread_softplus(-(distance - SPREAD_REACH) / 1e-3) * 1e-3;
            if (depth == 0) continue; /* a force of 0 changes nothing */
            for (int k = 0; k < 2; k++) {
                const double f = 100.0 * (p[k] - q[k]) / distance * depth;
                force[2 * a + k] = f + force[2 * a + k];
                force[2 * b + k] = -f + force[2 * b + k];
            }
        }
}

/* A step of 0.1 s: the old velocity moves the agents, a quarter of it is lost, the forces are added (mass 1). */
static inline void spread_move(const Spread *env, double *state, const void *action, ptrdiff_t b)
{
    const ptrdiff_t N = env->agents;
    double force[2 * SPREAD_MAX_AGENTS], *position = state, *velocity = state + 2 * N;
    for (ptrdiff_t i = 0; i < N; i++) spread_push(env, action, i * env->envs + b, force + 2 * i);
    spread_collide(position, force, N);
    for (ptrdiff_t k = 0; k < 2 * N; k++) {
        position[k] = position[k] + velocity[k] * 0.1;
        velocity[k] = velocity[k] * (1 - 0.25) + force[k] * 0.1;
    }
}

/* r_i = −(1 − ratio) Σ_l min_j |agent j − landmark l| − ratio · (how many agents touch agent i) */
static inline void spread_reward(const Spread *env, const double *state, double *reward)
{
    const ptrdiff_t N = env->agents;
    const double *landmark = state + 4 * N;
    double team = 0;
    for (ptrdiff_t l = 0; l < N; l++) {
        double nearest = spread_distance(state, landmark + 2 * l);
        for (ptrdiff_t j = 1; j < N; j++) {
            const double distance = spread_distance(state + 2 * j, landmark + 2 * l);
            if (distance < nearest) nearest = distance;
        }
        team -= nearest;
    }
    for (ptrdiff_t i = 0; i < N; i++) reward[i] = 0;
    for (ptrdiff_t i = 0; i < N; i++)
        for (ptrdiff_t j = i + 1; j < N; j++)
            if (spread_distance(state + 2 * i, state + 2 * j) < SPREAD_REACH) reward[i] -= 1, reward[j] -= 1;
    for (ptrdiff_t i = 0; i < N; i++) reward[i] = team * (1 - env->local_ratio) + reward[i] * env->local_ratio;
}

/* What each agent sees, 6 N floats: its velocity and position, where the landmarks and the others are from there, and
 * 2 (N − 1) zeros: what the others say, which is nothing. obs (N, B, 6 N) */
static inline void spread_observe(const Spread *env, const double *state, float *obs, ptrdiff_t b)
{
    const ptrdiff_t N = env->agents;
    for (ptrdiff_t i = 0; i < N; i++) {
        const double *mine = state + 2 * i, *velocity = mine + 2 * N, *landmark = state + 4 * N;
        float *x = obs + 6 * N * (i * env->envs + b);
        for (int k = 0; k < 2; k++) *x++ = (float)velocity[k];
        for (int k = 0; k < 2; k++) *x++ = (float)mine[k];
        for (ptrdiff_t k = 0; k < 2 * N; k++) *x++ = (float)(landmark[k] - mine[k & 1]);
        for (ptrdiff_t k = 0; k < 2 * N; k++)
            if (k / 2 != i) *x++ = (float)(state[k] - mine[k & 1]);
        for (ptrdiff_t k = 0; k < 2 * (N - 1); k++) *x++ = 0;
    }
}

/* The first of the N·B actions that there is no force for, −1 when there is none */
static ptrdiff_t spread_bad_action(const Spread *env, const void *action)
{
    const ptrdiff_t count = env->agents * env->envs * (env->continuous ? 5 : 1);
    for (ptrdiff_t n = 0; n < count; n++) {
        const int64_t whole = env->continuous ? 0 : ((const int64_t *)action)[n];
        if (whole < 0 || whole > 4) return n;
        if (env->continuous && !isfinite(((const float *)action)[n])) return n / 5;
    }
    return -1;
}

/* One step of every environment -> how many episodes reached their limit */
static ptrdiff_t spread_step_all(const Spread *env, double *state, int64_t *steps, const void *action, float *obs,
    double *reward, uint8_t *truncated)
{
    ptrdiff_t ended = 0;
    for (ptrdiff_t b = 0; b < env->envs; b++, state += 6 * env->agents, reward += env->agents) {
        spread_move(env, state, action, b);
        spread_reward(env, state, reward);
        spread_observe(env, state, obs, b);
        truncated[b] = ++steps[b] >= env->limit;
        ended += truncated[b];
    }
    return ended;
}

/* The first state of an episode: agents, then landmarks, uniform in [−1, 1]², as Generator.uniform draws; at rest */
static inline void spread_start(ptrdiff_t N, Bits *bits, double *state)
{
    for (ptrdiff_t k = 0; k < 2 * N; k++) state[k] = -1.0 + (1.0 - -1.0) * bits->next_double(bits->state);
    for (ptrdiff_t k = 2 * N; k < 4 * N; k++) state[k] = 0;
    for (ptrdiff_t k = 4 * N; k < 6 * N; k++) state[k] = -1.0 + (1.0 - -1.0) * bits->next_double(bits->state);
}

#endif
